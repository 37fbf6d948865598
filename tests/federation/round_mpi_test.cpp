// A round is a transaction: whatever befalls it, the model and what clients keep are those of the undisturbed run.
//
// Random runs of a scripted method on ranks that are threads: rounds are trained again since their scale does not fit,
// dropped and made anew, lose a rank before or after its training, and have bad clients; runs are saved, and continued
// from there on other ranks. Each is compared with one rank on which nothing happens but what has to: the clients of a
// lost rank are left out of that round and go back to what they kept when the run was last saved.
#include "federation/round.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <set>

#include "base/magnitude.hpp"
#include "support/roster.hpp"
#include "support/thread_cluster.hpp"

namespace fedmpi::federation {
namespace {

const std::vector<std::uint64_t> kSizes = {3, 1, 7, 2, 5, 4, 1};
constexpr std::uint64_t kRounds = 8;
constexpr std::size_t kModel = 12, kKept = 3;

using Clients = std::set<data::ClientId>;

// What happens to a round.
struct Events {
  bool redo = false, drop = false, save = false;
  int lose = 0;  // this rank, if it is there and still left; 0: none
  bool after_training = false;
  Clients bad;  // whose replies are not finite
};

// Replies are functions of the assignment: of the model, of what is sent down and of what the client keeps.
class Scripted : public client::Algorithm {
 public:
  explicit Scripted(const std::vector<Clients>& bad) : bad_(bad) {}

  Layout down() const override { return layout("control", kKept); }
  Layout up() const override { return layout("change", kKept); }
  Layout kept() const override { return layout("own", kKept); }
  client::Trained train(const client::Assignment& a, client::Local&, const client::Reply& reply) const override {
    Stream stream(a.seed, Purpose::order, a.round, a.examples.id);
    for (std::size_t j = 0; j < kModel; ++j)
      reply.update[j] =
          static_cast<float>(stream.normal()) + a.down[j % kKept] - 0.25F * a.kept[j % kKept] - 0.1F * a.global[j];
    for (std::size_t j = 0; j < kKept; ++j) {
      reply.kept[j] = 0.5F * a.kept[j] + reply.update[j];
      reply.rest[j] = 1e-4F * (reply.kept[j] - a.kept[j]);  // far smaller than the update
    }
    if (bad_[a.round].contains(a.examples.id)) reply.update[5] = NAN;
    return {{.loss = 1.0, .metric = 0.0, .count = static_cast<double>(a.examples.size)}, a.examples.size};
  }
  void conclude(const client::Message& mean, std::span<float> down, const client::Arrived& arrived) const override {
    for (std::size_t j = 0; j < kKept; ++j) down[j] += static_cast<float>(arrived.share) * mean.rest[j];
  }
  client::Steps steps(std::size_t examples) const override { return {1, examples}; }
  std::size_t vectors(std::size_t) const override { return 0; }

 private:
  static Layout layout(const char* name, std::size_t size) {
    Layout layout;
    layout.add("", name, {size});
    return layout;
  }
  const std::vector<Clients>& bad_;  // of each round
};

using Kept = std::map<data::ClientId, std::vector<float>>;

// All that a run continues from.
struct World {
  std::uint64_t round = 0;
  Vector global = Vector(kModel + kKept);
  Kept kept;
  secure::Scale scale;
  bool operator==(const World& other) const {
    return round == other.round && global == other.global && kept == other.kept;
  }
};

class Runs : public testing::Test {
 protected:
  // One rank of a run from `world`, which rank 0 and the participants renew, to its last round.
  struct Rank {
    Rank(Runs& test, mpi::Communicator& comm, mpi::Cluster& its_cluster, int rank, int ranks, const World& world)
        : algorithm(test.bad_), states(algorithm.kept()), pool(1), global(world.global) {
      config.federation.bad_update = "drop";
      config.federation.seed = 5;
      config.federation.cohort = 5;
      roster = test::roster_of(test.schema_, kSizes);
      roster.seats = Seats(rank, ranks);
      if (rank != 0) roster.sizes = {};
      roster.mine = data::Dataset();
      if (roster.seats.trains())
        for (data::ClientId id = 0; id < kSizes.size(); ++id)
          if (host_of(id, ranks) == rank) take(id, world.kept);
      round.emplace(comm, its_cluster, config, roster, *test.model_, std::span<const float>(), algorithm, states, pool);
    }

    static int host_of(data::ClientId id, int ranks) {
      return ranks == 1 ? 0 : 1 + static_cast<int>(id % static_cast<std::uint64_t>(ranks - 1));
    }

    void take(data::ClientId id, const Kept& kept) {
      std::vector<data::Block> block;
      block.push_back(test::random_block(roster.schema, {kSizes[id]}, 100 + id, id));
      roster.mine.add(data::Dataset(std::move(block)));
      if (const auto own = kept.find(id); own != kept.end())
        std::copy(own->second.begin(), own->second.end(), states.restore(id).begin());
    }

    void step(const client::Message& mean) {
      if (round->tally().clients == 0) return;
      algorithm.conclude(mean, std::span(global).subspan(kModel), round->arrived());
      for (std::size_t j = 0; j < kModel; ++j) global[j] += mean.update[j];
    }

    void keep_in(Kept& kept) const {
      for (const data::ClientId id : states.clients(0, kSizes.size()))
        kept[id].assign(states.of(id).begin(), states.of(id).end());
    }

    Config config;
    Roster roster;
    Scripted algorithm;
    client::States states;
    ThreadPool pool;
    Vector global;
    std::optional<Round> round;
  };

  // Continues from the last save on so many ranks, until round `end`. Ranks are lost as the events say.
  void disturbed(int ranks, std::uint64_t end) {
    test::ThreadRanks threads(ranks);
    std::vector<std::unique_ptr<mpi::Communicator>> comms;
    for (int r = 0; r < ranks; ++r) comms.push_back(std::make_unique<mpi::Communicator>(MPI_COMM_SELF));
    const World from = saved_;
    World now = from;
    std::mutex mutex;
    threads.run([&](test::ThreadCluster& cluster) {
      const int me = cluster.rank();
      Rank rank(*this, *comms[static_cast<std::size_t>(me)], cluster, me, ranks, from);
      std::set<int> gone;
      secure::Scale scale = from.scale;
      for (std::uint64_t r = from.round + 1; r <= end; ++r) {
        const Events& events = events_[r];
        RoundPlan plan;
        if (cluster.is_root()) {
          if (events.redo) scale.exponents[0] = scale.exponents[1] = 10;  // too coarse
          plan = rank.round->plan(r, scale);
        }
        cluster.broadcast(plan, rank.global);
        const Broadcast vectors = {std::span(rank.global).first(kModel), std::span(rank.global).subspan(kModel)};
        if (events.drop) {
          rank.round->train(plan, vectors, false);
          rank.round->drop();
        }
        if (events.lose == me && me != 0 && !events.after_training) cluster.leave();
        rank.round->train(plan, vectors, false);
        if (events.lose == me && me != 0) cluster.leave();
        const client::Message mean = rank.round->deliver();
        if (cluster.is_root()) {
          rank.step(mean);
          scale = rank.round->next_scale();
        }
        if (events.lose > 0 && events.lose < ranks && gone.insert(events.lose).second) {
          int heir = 1;
          while (gone.contains(heir)) ++heir;
          const std::lock_guard lock(mutex);
          for (data::ClientId id = 0; id < kSizes.size(); ++id)
            if (hosts_[r].at(id) == events.lose && me == heir) rank.take(id, saved_.kept);
          rank.round->clients_changed();
        }
        std::uint64_t agreed = 0;
        cluster.all_merge<std::uint64_t, add>(agreed);  // nobody saves while another takes over
        if (events.save) {
          {
            const std::lock_guard lock(mutex);
            if (now.round < r) now = {r, {}, {}, {}};
            rank.keep_in(now.kept);
            if (cluster.is_root()) now.global = rank.global, now.scale = scale;
          }
          cluster.all_merge<std::uint64_t, add>(agreed);
          if (cluster.is_root()) saved_ = now;
          cluster.all_merge<std::uint64_t, add>(agreed);
        }
      }
    });
  }
  static void add(std::uint64_t& into, const std::uint64_t& from) { into += from; }

  // Who hosts whom in each round of a run on so many ranks that begins after that round, and which ranks are lost then.
  void place(int ranks, std::uint64_t begin, std::uint64_t end) {
    std::set<int> gone;
    std::map<data::ClientId, int> hosts;
    for (data::ClientId id = 0; id < kSizes.size(); ++id) hosts[id] = Rank::host_of(id, ranks);
    for (std::uint64_t r = begin + 1; r <= end; ++r) {
      hosts_[r] = hosts;
      int& lost = events_[r].lose;
      // The last participant stays.
      if (lost >= ranks || gone.contains(lost) || static_cast<int>(gone.size()) + 2 >= ranks) lost = 0;
      if (lost == 0) continue;
      gone.insert(lost);
      int heir = 1;
      while (gone.contains(heir)) ++heir;
      for (auto& [id, host] : hosts)
        if (host == lost) host = heir;
    }
  }

  // The same rounds on one rank, of which none is disturbed.
  World undisturbed() {
    mpi::Communicator comm(MPI_COMM_SELF);
    World world, saved;
    world.scale = saved.scale = first_scale();
    test::ThreadRanks alone(1);
    for (const auto& [begin, end] : segments_) {
      for (std::uint64_t r = begin + 1; r <= end; ++r) {
        Clients lost;
        for (const auto& [id, host] : hosts_[r])
          if (events_[r].lose > 0 && host == events_[r].lose) lost.insert(id);
        bad_[r].insert(lost.begin(), lost.end());
        alone.run([&](test::ThreadCluster& cluster) {
          Rank rank(*this, comm, cluster, 0, 1, world);
          const Broadcast vectors = {std::span(rank.global).first(kModel), std::span(rank.global).subspan(kModel)};
          if (events_[r].redo) {  // the scale that the round comes to is a part of what its bits are a function of
            rank.round->train(rank.round->plan(r, world.scale), vectors, false);
            world.scale = rank.round->next_scale();
            rank.round->drop();
          }
          rank.round->train(rank.round->plan(r, world.scale), vectors, false);
          rank.step(rank.round->deliver());
          world.scale = rank.round->next_scale();
          world.global = rank.global;
          rank.keep_in(world.kept);
        });
        world.round = r;
        for (const data::ClientId id : lost) {
          world.kept.erase(id);
          if (saved.kept.contains(id)) world.kept[id] = saved.kept[id];
        }
        if (events_[r].save) saved = world;
      }
      world = saved;  // the next segment continues from there
    }
    return saved;
  }

  secure::Scale first_scale() const {
    const std::vector<Clients> none(1);
    return secure::first_scale(message_of(*model_, Scripted(none), {}));
  }

  void expect_transactions(std::uint64_t seed) {
    Stream stream(seed, Purpose::generate, 7);
    const auto chance = [&](std::uint64_t n) { return stream.below(n) == 0; };
    events_.assign(kRounds + 1, {});
    hosts_.assign(kRounds + 1, {});
    bad_.assign(kRounds + 1, {});
    segments_.clear();
    saved_ = {};
    saved_.scale = first_scale();
    for (Events& e : events_) {
      e.redo = chance(3);
      e.drop = chance(4);
      e.save = chance(3);
      e.lose = chance(3) ? 1 + static_cast<int>(stream.below(3)) : 0;
      e.after_training = chance(2);
      if (chance(3)) e.bad.insert(stream.below(kSizes.size()));
    }
    events_[kRounds].save = true;
    // A run is stopped after some round, and continued on other ranks from the last save.
    std::uint64_t begin = 0;
    std::vector<int> ranks;
    while (begin < kRounds) {
      const std::uint64_t end = std::min(kRounds, begin + 1 + stream.below(5));
      segments_.emplace_back(begin, end);
      ranks.push_back(1 + static_cast<int>(stream.below(5)));
      place(ranks.back(), begin, end);
      for (std::uint64_t r = begin + 1; r <= end; ++r) bad_[r] = events_[r].bad;
      const std::vector<Events> played = events_;
      disturbed(ranks.back(), end);
      // Rounds after the last save are made again, and what befell them does not befall them twice.
      std::uint64_t from = end;
      while (from > begin && !events_[from].save) --from;
      segments_.back().second = from;
      for (std::uint64_t r = from + 1; r <= end; ++r) events_[r].lose = 0;
      if (from == begin) events_[begin + 1].save = true;  // so that it gets ahead
      begin = from;
    }
    const World expected = undisturbed();
    EXPECT_EQ(saved_, expected) << "seed " << seed;
    EXPECT_EQ(saved_.round, kRounds);
    EXPECT_GT(fedmpi::norm(saved_.global), 0.0);
    EXPECT_FALSE(saved_.kept.empty());
  }

  data::Schema schema_ = test::regression(kModel - 1, 1);
  std::unique_ptr<model::Model> model_ = model::make({.kind = "linear"}, schema_);
  std::vector<Events> events_;                                     // of each round
  std::vector<std::map<data::ClientId, int>> hosts_;               // of each round
  std::vector<Clients> bad_;                                       // of each round
  std::vector<std::pair<std::uint64_t, std::uint64_t>> segments_;  // rounds that count, first excluded
  World saved_;
};

TEST_F(Runs, AreTheSameWhateverBefallsTheirRounds) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    expect_transactions(seed);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace fedmpi::federation
