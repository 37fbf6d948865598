#include <cstdio>
#include <fedmpi.hpp>

int main(int argc, char** argv) {
  fedmpi::mpi::Session session(argc, argv);
  const auto config = fedmpi::federation::Config::from_file(argv[1]);
  const auto outcome = fedmpi::federation::train(session.world(), config);
  if (session.world().rank() == 0) std::printf("weights %s\n", outcome.weights_sha256.c_str());
}
