#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fedmpi.hpp>

int main(int argc, char** argv) {
  fedmpi::mpi::Session session(argc, argv);
  sleep(std::atoi(argv[2]));  // it may take its time: see FEDMPI_START_SECONDS in the test
  const auto config = fedmpi::federation::Config::from_file(argv[1]);
  const auto outcome = fedmpi::federation::train(session.world(), config);
  if (session.world().rank() == 0) std::printf("weights %s\n", outcome.weights_sha256.c_str());
}
