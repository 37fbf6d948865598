#include "aggregate/exchange.hpp"

#include "base/error.hpp"

namespace fedmpi::aggregate {

std::size_t exchange_memory(const Kind& kind, std::size_t parameters, std::size_t threads, std::size_t clients) {
  switch (kind.need) {
    case Need::exact_sum:
      return exact_memory(parameters, threads, clients);
    case Need::float_sum:
      return float_memory(parameters);
    case Need::individual:
      return gather_memory(parameters, threads, clients);
  }
  fail(ExitCode::bug, "aggregate.kind: '{}' has no exchange", kind.name);
}

std::unique_ptr<Exchange> make_exchange(const Kind& kind, std::size_t parameters, const Place& place) {
  switch (kind.need) {
    case Need::exact_sum:
      return make_exact_exchange(parameters, place);
    case Need::float_sum:
      return make_float_exchange(parameters, place);
    case Need::individual:
      return make_gather_exchange(parameters, place, kind.combine);
  }
  fail(ExitCode::bug, "aggregate.kind: '{}' has no exchange", kind.name);
}

}  // namespace fedmpi::aggregate
