// Runs the blocks of a grid, and chooses which block, warp and lanes run next. Lanes of a warp that are at different
// instructions form fragments; fragments that meet again are merged.
#include <climits>
#include <cstdlib>
#include <memory>

#include "warp.h"

namespace stepsize::ptx {

namespace {

using State = Fragment::State;

constexpr size_t kMaxResidentBlocks = 4;
constexpr size_t kMaxFragments = 8;

uint32_t nextInterval(Launch& launch, const Block& block) {
  static uint32_t last = 0;  // under lockMachine()
  launch.blockOfInterval.push_back(block.index);
  if (launch.firstInterval == 0) launch.firstInterval = last + 1;
  return ++last;
}

// Sets the special registers of all lanes, in the order of kSpecialRegisters.
void setSpecialRegisters(Warp& warp) {
  const Block& block = *warp.block;
  const dim3 size = block.launch->blockSize, grid = block.launch->grid;
  for (uint32_t lane = 0; lane < kLanes; lane++) {
    const uint32_t thread = warp.index * kLanes + lane, bit = 1u << lane, below = bit - 1;
    const uint32_t values[kSpecialCount] = {thread % size.x,
                                            thread / size.x % size.y,
                                            thread / size.x / size.y,
                                            size.x,
                                            size.y,
                                            size.z,
                                            block.x,
                                            block.y,
                                            block.z,
                                            grid.x,
                                            grid.y,
                                            grid.z,
                                            lane,
                                            warp.index,
                                            kLanes,
                                            below,
                                            below | bit,
                                            ~(below | bit),
                                            ~below,
                                            bit};
    for (int i = 0; i < kSpecialCount; i++)
      if (const Register at = block.launch->kernel->special[i]) warp.words(at)[lane] = values[i];
  }
}

void startWarp(Warp& warp, Block& block, uint32_t index) {
  const Kernel& kernel = *block.launch->kernel;
  warp.block = &block;
  warp.index = index;
  warp.phase = 0;
  warp.local = block.local.data() + static_cast<size_t>(index) * kLanes * kernel.localBytes;
  const uint32_t lanes = std::min<uint32_t>(kLanes, block.launch->threads() - index * kLanes);
  warp.live = lanes == kLanes ? kAllLanes : (1u << lanes) - 1;
  warp.fragments = {{0, warp.live, State::ready}};
  for (int lane = 0; lane < kLanes; lane++) {
    warp.copies[lane].clear();
    warp.committed[lane] = 0;
  }
  setSpecialRegisters(warp);
}

// Allocates the registers for the first block that uses this memory. Later blocks find old values, and the same
// constants.
void makeRegisters(Block& block, const Kernel& kernel) {
  const auto words = static_cast<size_t>(kernel.words);
  block.registers.assign(block.liveWarps * words, kAllLanes);
  block.warps.resize(block.liveWarps);
  for (uint32_t i = 0; i < block.liveWarps; i++) {
    Warp& warp = block.warps[i];
    warp.registers = block.registers.data() + i * words;
    for (const Constant& constant : kernel.constants)
      for (int lane = 0; lane < kLanes; lane++) setBits(warp, constant.at, lane, constant.value);
  }
}

// Starts a block. Its memory is initialized with NaN, so that reading uninitialized memory shows.
void startBlock(Launch& launch, Block& block, uint64_t index) {
  const Kernel& kernel = *launch.kernel;
  block.launch = &launch;
  block.index = static_cast<uint32_t>(index);
  block.x = static_cast<uint32_t>(index % launch.grid.x);
  block.y = static_cast<uint32_t>(index / launch.grid.x % launch.grid.y);
  block.z = static_cast<uint32_t>(index / launch.grid.x / launch.grid.y);
  block.liveWarps = (launch.threads() + kLanes - 1) / kLanes;
  block.shared.assign(kernel.sharedBytes + launch.dynamicShared, 0xff);
  if (settings().checks) block.sharedShadow.assign((block.shared.size() + 3) / 4, {});
  if (block.registers.empty()) makeRegisters(block, kernel);
  block.local.assign(static_cast<size_t>(block.liveWarps) * kLanes * kernel.localBytes, 0xff);
  block.synchronization = {{}, {}, std::vector<uint32_t>(static_cast<size_t>(block.liveWarps) * kLanes)};
  block.interval = nextInterval(launch, block);
  for (uint32_t i = 0; i < block.liveWarps; i++) startWarp(block.warps[i], block, i);
}

class WarpRunner {
 public:
  explicit WarpRunner(Warp& warp)
      : warp_(warp),
        launch_(*warp.block->launch),
        fragments_(warp.fragments),
        isDiverging_(settings().schedule == Schedule::diverging) {}

  // Runs until no fragment is ready or until `accesses` memory accesses were made. Returns whether anything ran.
  bool run(int64_t accesses) {
    accesses_ = accesses;
    launch_.currentBlock = warp_.block->index;
    bool ran = false;
    while (choose()) {
      merge();
      if (isDiverging_ && accesses != INT64_MAX) split();
      ran = true;
      if (!runFragment()) break;
    }
    return ran;
  }

 private:
  // Runs the chosen fragment until another one must be chosen; false if no accesses are left.
  bool runFragment() {
    const std::vector<Instruction>& instructions = launch_.kernel->instructions;
    findMeetingPoint();
    for (;;) {
      const Instruction& i = instructions[current().at];
      launch_.current = &i;
      uint32_t lanes = current().lanes;
      if (i.guard) lanes &= i.guardIsNegated ? ~*warp_.words(i.guard) : *warp_.words(i.guard);
      switch (i.kind) {
        case Kind::lanes:
          if (lanes != 0) i.execute(warp_, i, lanes);
          break;
        case Kind::memory:
          if (lanes == 0) break;
          if (--accesses_ < 0) return false;
          i.execute(warp_, i, lanes);
          break;
        case Kind::branch:
          if (lanes == 0) break;
          branch(lanes, static_cast<uint32_t>(i.target));
          // If all lanes are in one fragment, there is no other one to choose.
          if (fragments_.size() > 1) return true;
          continue;
        case Kind::exit:
          if (lanes == 0) break;
          if (leave(lanes)) return true;
          break;
        case Kind::barrier:
          if (lanes == 0) break;
          separate(lanes, current().at + 1);
          current().at++;
          current().state = State::atBarrier;
          return true;
        case Kind::warp:
          if (lanes == 0) break;
          separate(lanes, current().at + 1);
          findMeetingPoint();
          if (!joinMembers(i)) return true;
          break;
      }
      current().at++;
      if (current().at == meetingPoint_) return true;
    }
  }

  Fragment& current() { return fragments_[chosen_]; }

  // Chooses the fragment that is furthest behind, so that the others wait for it; in the diverging schedule, any
  // fragment.
  bool choose() {
    bool found = false;
    uint32_t ready = 0;
    for (size_t k = 0; k < fragments_.size(); k++) {
      if (fragments_[k].state != State::ready) continue;
      const bool isBetter =
          isDiverging_ ? launch_.random.below(++ready) == 0 : !found || fragments_[k].at < fragments_[chosen_].at;
      if (isBetter) chosen_ = k;
      found = true;
    }
    return found;
  }
  void remove(size_t k) {
    fragments_.erase(fragments_.begin() + static_cast<ptrdiff_t>(k));
    if (k < chosen_) chosen_--;
  }
  // Merges the fragments that are at the same instruction.
  void merge() {
    if (isDiverging_ && launch_.random.below(2) == 0) return;
    for (size_t k = fragments_.size(); k-- > 0;) {
      const Fragment other = fragments_[k];
      if (k == chosen_ || other.state != State::ready || other.at != current().at) continue;
      current().lanes |= other.lanes;
      remove(k);
    }
  }
  // Sometimes lets a part of the lanes continue alone.
  void split() {
    const uint32_t part = current().lanes & static_cast<uint32_t>(launch_.random.next());
    if (part == 0 || part == current().lanes || fragments_.size() >= kMaxFragments || launch_.random.below(4) > 0)
      return;
    separate(part, current().at);
  }
  // The chosen fragment keeps these lanes; the others form a fragment that continues at `at`.
  void separate(uint32_t lanes, uint32_t at) {
    const uint32_t others = current().lanes & ~lanes;
    if (others == 0) return;
    current().lanes = lanes;
    fragments_.push_back({at, others, State::ready});
  }
  // Finds the next instruction at which there is another fragment.
  void findMeetingPoint() {
    meetingPoint_ = UINT_MAX;
    for (size_t k = 0; k < fragments_.size(); k++)
      if (k != chosen_ && fragments_[k].state == State::ready && fragments_[k].at > current().at)
        meetingPoint_ = std::min(meetingPoint_, fragments_[k].at);
  }
  void branch(uint32_t lanes, uint32_t target) {
    separate(lanes, current().at + 1);
    current().at = target;
  }
  // Ends lanes; returns whether the fragment has none left.
  bool leave(uint32_t lanes) {
    for (uint32_t left = lanes; left != 0; left &= left - 1)
      for (const PendingCopy& copy : warp_.copies[__builtin_ctz(left)])
        if (copy.bytes > 0) find(launch_, "a thread returns with copies under way");
    warp_.live &= ~lanes;
    if (warp_.live == 0) warp_.block->liveWarps--;
    // Other lanes may have waited only for these.
    for (Fragment& other : fragments_)
      if (other.state == State::atWarpInstruction) other.state = State::ready;
    current().lanes &= ~lanes;
    if (current().lanes != 0) return false;
    remove(chosen_);
    return true;
  }
  // Executes a warp instruction once all its members are there.
  bool joinMembers(const Instruction& i) {
    uint32_t members = kAllLanes;
    const uint32_t arrived = current().lanes;
    if (i.members) {
      members = warp_.words(i.members)[__builtin_ctz(arrived)];
      for (uint32_t left = arrived; left != 0; left &= left - 1)
        if (warp_.words(i.members)[__builtin_ctz(left)] != members) fail(warp_, "lanes name different members");
      if (arrived & ~members) fail(warp_, "a lane is not among its members");
      members &= warp_.live;
    }
    uint32_t joined = arrived;
    for (const Fragment& other : fragments_)
      if (other.state == State::atWarpInstruction && other.at == current().at) joined |= other.lanes;
    if ((joined & members) != members) {
      current().state = State::atWarpInstruction;
      return false;
    }
    for (size_t k = fragments_.size(); k-- > 0;)
      if (fragments_[k].state == State::atWarpInstruction && fragments_[k].at == current().at) remove(k);
    current().lanes = joined;
    launch_.currentThread = warp_.thread(0);
    i.execute(warp_, i, members & joined);
    return true;
  }

  Warp& warp_;
  Launch& launch_;
  std::vector<Fragment>& fragments_;
  const bool isDiverging_;
  size_t chosen_ = 0;
  uint32_t meetingPoint_ = UINT_MAX;
  int64_t accesses_ = 0;
};

// Releases the barrier if every thread that has not returned waits at it.
bool passBarrier(Launch& launch, Block& block) {
  for (const Warp& warp : block.warps)
    for (const Fragment& fragment : warp.fragments)
      if (fragment.state != State::atBarrier) return false;
  block.interval = nextInterval(launch, block);
  for (Warp& warp : block.warps) {
    warp.phase = 0;
    for (Fragment& fragment : warp.fragments) {
      fragment.state = State::ready;
      if (fragment.at != warp.fragments[0].at) find(launch, "lanes of a warp wait at different barriers");
    }
  }
  return true;
}

[[noreturn]] void reportDeadlock(const Launch& launch, const Block& block) {
  std::string message = "deadlock:";
  for (const Warp& warp : block.warps)
    for (const Fragment& fragment : warp.fragments) {
      const bool isAtBarrier = fragment.state == State::atBarrier;
      char text[300];
      snprintf(text, sizeof text, " [warp %u, lanes %08x at %s]", warp.index, fragment.lanes,
               launch.kernel->instructions[fragment.at - (isAtBarrier ? 1 : 0)].text.c_str());
      if (message.size() < 600) message += text;
    }
  throw Error(message + " in " + launch.kernel->name);
}

bool runAllWarps(Launch& launch, Block& block) {
  std::vector<Warp*> order;
  for (Warp& warp : block.warps) order.push_back(&warp);
  if (settings().schedule == Schedule::random)
    for (size_t i = order.size(); i > 1; i--)
      std::swap(order[i - 1], order[launch.random.below(static_cast<uint32_t>(i))]);
  bool progressed = false;
  for (Warp* warp : order) progressed |= WarpRunner(*warp).run(INT64_MAX);
  return progressed;
}

// Lets some warps make a few accesses each.
bool runSomeWarps(Launch& launch, Block& block) {
  bool progressed = false;
  for (int tries = 0; tries < 8; tries++) {
    Warp& warp = block.warps[launch.random.below(static_cast<uint32_t>(block.warps.size()))];
    progressed |= WarpRunner(warp).run(launch.random.below(4));
  }
  if (!progressed)
    for (Warp& warp : block.warps) progressed |= WarpRunner(warp).run(1);
  return progressed;
}

}  // namespace

std::string describe(const Launch& launch, const std::string& message) {
  const std::string where = launch.current ? launch.kernel->name + ": " + launch.current->text : launch.kernel->name;
  return message + " in " + where + " [block " + std::to_string(launch.currentBlock) + ", thread " +
         std::to_string(launch.currentThread) + "]";
}

void fail(Warp& warp, const std::string& message) { throw Error(describe(*warp.block->launch, message)); }

void find(Launch& launch, const std::string& message) {
  if (settings().checks && launch.finding.empty()) launch.finding = describe(launch, message);
}

void run(Launch& launch) {
  const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  const bool inOrder = settings().schedule == Schedule::inOrder;
  const size_t maxResident = inOrder ? 1 : 1 + launch.random.below(kMaxResidentBlocks);
  std::vector<std::unique_ptr<Block>> resident, done;
  uint64_t next = 0;
  for (;;) {
    while (resident.size() < maxResident && next < blocks) {
      if (done.empty()) done.push_back(std::make_unique<Block>());
      startBlock(launch, *done.back(), next++);
      resident.push_back(std::move(done.back()));
      done.pop_back();
    }
    if (resident.empty()) break;
    const size_t chosen = inOrder ? 0 : launch.random.below(static_cast<uint32_t>(resident.size()));
    Block& block = *resident[chosen];
    const bool switches = settings().schedule >= Schedule::switching;
    const bool progressed = switches ? runSomeWarps(launch, block) : runAllWarps(launch, block);
    if (block.liveWarps == 0) {
      done.push_back(std::move(resident[chosen]));
      resident.erase(resident.begin() + static_cast<ptrdiff_t>(chosen));
    } else if (!passBarrier(launch, block) && !progressed) {
      reportDeadlock(launch, block);
    }
  }
  if (!launch.finding.empty()) throw Error(launch.finding);
}

}  // namespace stepsize::ptx
