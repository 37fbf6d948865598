// Standard input, output and error, where whoever started the program has closed them.
#pragma once

namespace fedmpi::app {

// Before any file is opened: no other file, and no socket of MPI, takes the place of one of them. What is written to
// standard output or error fails as it would on the closed one, so that a result that nobody gets is an error.
void fill_closed_descriptors();

}  // namespace fedmpi::app
