// What this core can do: fused multiply-adds from registers, matrix products by the best libraries on the very shapes
// of a training step, copies, a word with another core, and reading a file that the page cache holds.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <Eigen/Core>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "base/vector.hpp"
#include "model/kernels/dense.hpp"
#include "secure/ring.hpp"
#ifdef FEDMPI_BENCH_OPENBLAS
#include <cblas.h>
#endif
#ifdef FEDMPI_BENCH_LIBXSMM
#include <libxsmm.h>
#endif

namespace {

using Eigen::Index;
using fedmpi::Vector;

benchmark::Counter rate(double amount) { return {amount, benchmark::Counter::kIsRate}; }

// Enough independent chains to fill the pipelines of two units, few enough to stay in registers.
void fma_peak(benchmark::State& state) {
  using Packet = Eigen::internal::packet_traits<float>::type;
  constexpr std::size_t kLanes = Eigen::internal::packet_traits<float>::size, kChains = 12;
  constexpr int kSteps = 4096;
  Packet x[kChains];
  for (Packet& chain : x) chain = Eigen::internal::pset1<Packet>(1.0F);
  Packet factor = Eigen::internal::pset1<Packet>(0.999F), term = Eigen::internal::pset1<Packet>(0.001F);
  for (auto _ : state) {
    benchmark::DoNotOptimize(factor);
    for (int i = 0; i < kSteps; ++i)
      for (Packet& chain : x) chain = Eigen::internal::pmadd(chain, factor, term);
    benchmark::DoNotOptimize(x);
  }
  state.counters["GFLOP"] = rate(2e-9 * kLanes * kChains * kSteps * static_cast<double>(state.iterations()));
}

// c (m × n) = or += op(a) · op(b), column-major, with k between them; the operands of one layer's product.
struct Product {
  enum Kind { forward, gradient, backward } kind;
  int inputs, outputs, batch;

  int m() const { return kind == backward ? inputs : outputs; }
  int n() const { return kind == gradient ? inputs : batch; }
  int k() const { return kind == forward ? inputs : kind == gradient ? batch : outputs; }
  bool transpose_a() const { return kind == backward; }  // the kernel, outputs × inputs
  bool transpose_b() const { return kind == gradient; }  // the inputs, inputs × batch
  bool accumulate() const { return kind == gradient; }   // W += -η · E · Xᵀ
  std::string name() const {
    const char* kinds[] = {"forward", "gradient", "backward"};
    return std::string(kinds[kind]) + "/" + std::to_string(inputs) + "-" + std::to_string(outputs) +
           "/B:" + std::to_string(batch);
  }
};

// Our own dense layer, bias included; its kernel is inputs × outputs, which is as many numbers.
struct Ours {
  explicit Ours(const Product& p) : bias(static_cast<std::size_t>(p.outputs), 0.0F) {}
  void operator()(const Product& p, const float* a, const float* b, float* c) {
    using namespace fedmpi::model::kernels;
    const fedmpi::MatrixView result(c, p.m(), p.n());
    const std::span<float> kernel(c, static_cast<std::size_t>(p.inputs * p.outputs));
    const fedmpi::ConstMatrixView constant(bias.data(), p.outputs, 1);
    if (p.kind == Product::forward)
      dense_forward({a, p.inputs, p.outputs}, constant, {b, p.inputs, p.batch}, result);
    else if (p.kind == Product::gradient)
      dense_update({a, p.outputs, p.batch}, {b, p.inputs, p.batch}, {kernel, kernel}, {bias, bias});
    else
      dense_backward({a, p.inputs, p.outputs}, {b, p.outputs, p.batch}, result);
  }
  Vector bias;
};

void by_eigen(const Product& p, const float* a, const float* b, float* c) {
  using Matrix = Eigen::Map<const Eigen::MatrixXf>;
  Eigen::Map<Eigen::MatrixXf> out(c, p.m(), p.n());
  if (p.kind == Product::forward)
    out.noalias() = Matrix(a, p.m(), p.k()) * Matrix(b, p.k(), p.n());
  else if (p.kind == Product::backward)
    out.noalias() = Matrix(a, p.k(), p.m()).transpose() * Matrix(b, p.k(), p.n());
  else
    out.noalias() += -0.1F * Matrix(a, p.m(), p.k()) * Matrix(b, p.n(), p.k()).transpose();
}

#ifdef FEDMPI_BENCH_OPENBLAS
void by_openblas(const Product& p, const float* a, const float* b, float* c) {
  cblas_sgemm(CblasColMajor, p.transpose_a() ? CblasTrans : CblasNoTrans, p.transpose_b() ? CblasTrans : CblasNoTrans,
              p.m(), p.n(), p.k(), p.accumulate() ? -0.1F : 1.0F, a, p.transpose_a() ? p.k() : p.m(), b,
              p.transpose_b() ? p.n() : p.k(), p.accumulate() ? 1.0F : 0.0F, c, p.m());
}
#endif

#ifdef FEDMPI_BENCH_LIBXSMM
// Its kernels know only alpha = 1 (-η goes into E) and cannot always transpose A, which is then copied first
// as a user of the library would have to.
struct Xsmm {
  explicit Xsmm(const Product& p) : product(p), packed(static_cast<std::size_t>(p.m() * p.k())) {
    const float alpha = 1, beta = p.accumulate() ? 1.0F : 0.0F;
    const int lda = p.m(), ldb = p.transpose_b() ? p.n() : p.k(), ldc = p.m();
    const int flags = p.transpose_b() ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE;
    kernel = libxsmm_smmdispatch(p.m(), p.n(), p.k(), &lda, &ldb, &ldc, &alpha, &beta, &flags, nullptr);
  }
  void operator()(const Product& p, const float* a, const float* b, float* c) {
    if (p.transpose_a()) {
      libxsmm_otrans(packed.data(), a, sizeof(float), p.k(), p.m(), p.k(), p.m());
      a = packed.data();
    }
    kernel(a, b, c);
  }
  Product product;
  Vector packed;
  libxsmm_smmfunction kernel = nullptr;
};
#endif

template <class Multiply>
void product(benchmark::State& state, const Product& p, Multiply multiply) {
  const auto size = [](int rows, int columns) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  };
  Vector a(size(p.m(), p.k()), 0.01F), b(size(p.k(), p.n()), 0.01F), c(size(p.m(), p.n()), 0.0F);
  for (auto _ : state) {
    multiply(p, a.data(), b.data(), c.data());
    benchmark::DoNotOptimize(c.data());
    benchmark::ClobberMemory();
  }
  const double flop = 2.0 * p.m() * p.n() * p.k();
  state.counters["GFLOP"] = rate(1e-9 * flop * static_cast<double>(state.iterations()));
}

void copy(benchmark::State& state) {
  const std::size_t bytes = static_cast<std::size_t>(state.range(0));
  fedmpi::AlignedVector<char> from(bytes, 1), to(bytes, 2);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), bytes);
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));  // read once and written once
}

// So many updates to integers, which are added up, and back, in pieces that stay in the first cache, as one core does.
void convert(benchmark::State& state) {
  constexpr std::size_t kPiece = 1024;
  const std::vector<float> update(kPiece, 0.001F);
  std::vector<std::int64_t> sum(kPiece);
  std::vector<float> result(kPiece);
  for (auto _ : state) {
    for (std::int64_t i = 0; i < state.range(0); ++i)
      fedmpi::secure::encode(update, 0.125, fedmpi::secure::kFirstExponent, sum,
                             i == 0 ? fedmpi::secure::Encode::set : fedmpi::secure::Encode::add);
    fedmpi::secure::decode(sum, 1.0, fedmpi::secure::kFirstExponent, result);
    benchmark::DoNotOptimize(result.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kPiece));
}

// One read after another at random in so many bytes, each telling where the next is.
void read_at_random(benchmark::State& state) {
  struct alignas(64) Line {
    std::uint32_t next;
  };
  std::vector<Line> lines(static_cast<std::size_t>(state.range(0)) / sizeof(Line));
  std::vector<std::uint32_t> order(lines.size());
  std::iota(order.begin(), order.end(), 0u);
  fedmpi::Stream(1, fedmpi::Purpose::order).shuffle(std::span(order));
  for (std::size_t i = 0; i < order.size(); ++i) lines[order[i]].next = order[(i + 1) % order.size()];
  std::uint32_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(at = lines[at].next);
}

// A cache line to another core and back. Where the cores are virtual their host decides how far apart they are, and
// decides anew now and then.
void core_to_core(benchmark::State& state) {
  cpu_set_t allowed, first, second;
  sched_getaffinity(0, sizeof allowed, &allowed);
  CPU_ZERO(&first);
  CPU_ZERO(&second);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&second) == 0; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, CPU_COUNT(&first) == 0 ? &first : &second);
  if (CPU_COUNT(&second) == 0) return state.SkipWithError("there is one core only");
  std::atomic<std::int64_t> turn{0};  // even: mine; odd: the other's; negative: over
  std::thread other([&] {
    sched_setaffinity(0, sizeof second, &second);
    for (std::int64_t now; (now = turn.load(std::memory_order_acquire)) >= 0;)
      if (now % 2 == 1) turn.store(now + 1, std::memory_order_release);
  });
  sched_setaffinity(0, sizeof first, &first);
  for (auto _ : state) {
    const std::int64_t now = turn.load(std::memory_order_acquire) + 1;
    turn.store(now, std::memory_order_release);
    while (turn.load(std::memory_order_acquire) == now) continue;
  }
  turn.store(-1, std::memory_order_release);
  other.join();
  sched_setaffinity(0, sizeof allowed, &allowed);
}

// The whole file by read(2), a mebibyte at a time.
void read_file(benchmark::State& state, const std::string& path) {
  std::vector<char> buffer(1 << 20);
  std::int64_t bytes = 0;
  for (auto _ : state) {
    const int file = open(path.c_str(), O_RDONLY);
    if (file < 0) return state.SkipWithError(("cannot open " + path).c_str());
    for (ssize_t n; (n = read(file, buffer.data(), buffer.size())) > 0;) bytes += n;
    close(file);
  }
  state.SetBytesProcessed(bytes);
}

void register_product(const Product& p) {
  benchmark::RegisterBenchmark(("gemm/ours/" + p.name()).c_str(),
                               [p](benchmark::State& state) { product(state, p, Ours(p)); });
  benchmark::RegisterBenchmark(("gemm/eigen/" + p.name()).c_str(),
                               [p](benchmark::State& state) { product(state, p, by_eigen); });
#ifdef FEDMPI_BENCH_OPENBLAS
  benchmark::RegisterBenchmark(("gemm/openblas/" + p.name()).c_str(),
                               [p](benchmark::State& state) { product(state, p, by_openblas); });
#endif
#ifdef FEDMPI_BENCH_LIBXSMM
  benchmark::RegisterBenchmark(("gemm/libxsmm/" + p.name()).c_str(), [p](benchmark::State& state) {
    Xsmm xsmm(p);
    if (xsmm.kernel == nullptr) return state.SkipWithError("libxsmm has no kernel for this shape");
    product(state, p, xsmm);
  });
#endif
}

// The layers of a model, and the sizes of the batches that its clients' examples fall into.
void register_model(std::vector<int> widths, std::vector<int> batches) {
  for (const int batch : batches)
    for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
      register_product({Product::forward, widths[l], widths[l + 1], batch});
      register_product({Product::gradient, widths[l], widths[l + 1], batch});
      if (l > 0) register_product({Product::backward, widths[l], widths[l + 1], batch});
    }
}

}  // namespace

int main(int argc, char** argv) {
#ifdef FEDMPI_BENCH_OPENBLAS
  openblas_set_num_threads(1);
  benchmark::AddCustomContext("openblas", openblas_get_corename());  // the processor whose kernels it has chosen
#endif
#ifdef FEDMPI_BENCH_LIBXSMM
  benchmark::AddCustomContext("libxsmm", LIBXSMM_VERSION);
#endif
  benchmark::RegisterBenchmark("fma_peak", fma_peak);
  register_model({784, 10}, {10, 32, 28, 60});  // 60 images: 6 × 10, 32 + 28, 60
  register_model({784, 128, 10}, {10, 32, 28, 60});
  register_model({784, 200, 200, 10}, {10, 32, 24, 600});  // 600 images: 60 × 10, 18 × 32 + 24, 600
  benchmark::RegisterBenchmark("memcpy", copy)->Arg(1 << 15)->Arg(1 << 20)->Arg(1 << 28);
  benchmark::RegisterBenchmark("convert", convert)->DenseRange(1, 4);
  benchmark::RegisterBenchmark("read_at_random", read_at_random)
      ->Arg(24 << 20);  // what a million clients take in row 10
  benchmark::RegisterBenchmark("core_to_core", core_to_core)->UseRealTime();
  const char* folder = std::getenv("FEDMPI_BENCH_DATA");
  const std::string shard = std::string(folder != nullptr ? folder : "run/bench") + "/1000/shard-00000.h5";
  benchmark::RegisterBenchmark("read_file", [shard](benchmark::State& state) { read_file(state, shard); });
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
