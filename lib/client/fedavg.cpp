// FedAvg: some epochs or steps of minibatch SGD from the global model; the update is where they lead. McMahan
// et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data", algorithm 1.
#include "client/sgd.hpp"

namespace fedmpi::client {

std::unique_ptr<Algorithm> make_fedavg(const model::Model& model, const Options& options) {
  return std::make_unique<Sgd>(model, options);
}

}  // namespace fedmpi::client
