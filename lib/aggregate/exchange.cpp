#include "aggregate/exchange.hpp"

#include "base/error.hpp"

namespace fedmpi::aggregate {

std::size_t exchange_memory(const Kind& kind, const Layout& message, std::size_t threads, std::size_t clients) {
  switch (kind.need) {
    case Need::exact_sum:
      return exact_memory(message, threads, clients);
    case Need::float_sum:
      return float_memory(message);
    case Need::individual:
      return gather_memory(message, threads, clients);
  }
  fail(ExitCode::bug, "aggregate.kind: '{}' has no exchange", kind.name);
}

void check_exchange(const Kind& kind, const Layout& message) {
  if (kind.need == Need::individual && message.tensors().size() > 1)
    fail(ExitCode::usage,
         "aggregate.kind: {} combines updates one by one, and client.algorithm sends '{}' beside them, which needs a "
         "mean",
         kind.name, message.tensors()[1].path());
}

std::unique_ptr<Exchange> make_exchange(const Kind& kind, const Layout& message, const Place& place) {
  check_exchange(kind, message);
  switch (kind.need) {
    case Need::exact_sum:
      return make_exact_exchange(message, place);
    case Need::float_sum:
      return make_float_exchange(message, place);
    case Need::individual:
      return make_gather_exchange(message, place, kind.combine);
  }
  fail(ExitCode::bug, "aggregate.kind: '{}' has no exchange", kind.name);
}

}  // namespace fedmpi::aggregate
