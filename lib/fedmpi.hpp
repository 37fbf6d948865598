// The library's door: train a federation in process. Signals, limits, allocator and the end of the process stay the
// program's own affair, unless it says otherwise (mpi::Policy, federation::catch_preemption).
//
//   fedmpi::mpi::Session session(argc, argv);
//   const auto config = fedmpi::federation::Config::from_file("train.ini");
//   const auto outcome = fedmpi::federation::train(session.world(), config);
#pragma once

#include "federation/federation.hpp"
#include "mpi/session.hpp"
