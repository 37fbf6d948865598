// An error that every rank throws alike.
#pragma once

#include "base/error.hpp"

namespace fedmpi::mpi {

// All ranks have agreed on it, so all of them leave in good order: rank 0 prints it and MPI is finalised.
class CollectiveError : public Error {
 public:
  using Error::Error;
};

}  // namespace fedmpi::mpi
