// Lets programs in the guest begin and end recordings, by hypercall (recctrl_protocol.h).
//
// A recording begins and ends at the engine's next stop after the hypercall. Nothing that the plugin does inside a
// recording changes the guest, which could not be repeated in a replay: there CPUID gives what it always gives.
// The name of a recording comes from the guest and becomes a file's: it is checked.
#include <unistd.h>

#include <chrono>

#include "panda/plugin.hpp"
#include "recctrl_protocol.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLongestName = 64;
constexpr uint64_t kStopInstructions = 100'000;

class Recctrl : public panda::Plugin {
 public:
  Recctrl();

 private:
  enum class State { Idle, Beginning, Recording, Ending };

  bool hypercall(CPUState *cpu);
  [[nodiscard]] uint32_t act(CPUState *cpu, uint32_t action, target_ulong name);
  [[nodiscard]] uint32_t begin(const std::string &name);
  void end(const char *why);
  void watch();
  void over();

  bool dry_, sessions_mode_;
  uint32_t most_, timeout_s_;
  State state_ = State::Idle;
  uint32_t sessions_ = 0;
  uint32_t recorded_ = 0;
  Clock::time_point since_;
  uint64_t asked_at_ = 0;
};

Recctrl::Recctrl() {
  panda::Arguments args = arguments();
  dry_ = args.flag("dry", "say what would be done, record nothing");
  sessions_mode_ = args.flag("session_rec", "record while at least one session is open");
  most_ = args.number<uint32_t>("nrec", 0, "end the run after so many recordings (0: never)");
  timeout_s_ = args.number<uint32_t>("timeout", 0, "end a recording after so many seconds (0: never)");
  args.done();
  if (rr_in_replay()) panda::refuse("there is nothing to record in a replay");
  on_guest_hypercall([this](CPUState *cpu) { return hypercall(cpu); });
  on_main_loop_wait([this] { watch(); });
}

bool Recctrl::hypercall(CPUState *cpu) {
  if (static_cast<uint32_t>(cpu->regs[R_EAX]) != RECCTRL_MAGIC) return false;
  watch();
  const bool recording = rr_in_record();
  const uint32_t answer = act(cpu, static_cast<uint32_t>(cpu->regs[R_EBX]), cpu->regs[R_ECX]);
  if (recording) return false;
  cpu->regs[R_EAX] = answer;
  cpu->regs[R_EBX] = state_ == State::Beginning ? 1 : 0;
  return true;
}

bool is_good_name(const std::string &name) {
  if (name.empty() || name.size() > kLongestName || name[0] == '.' || name[0] == '-') return false;
  return name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
         std::string::npos;
}

// Recordings are not overwritten: NAME, NAME-1, NAME-2 …
std::string free_name(const std::string &name) {
  std::string free = name;
  for (unsigned i = 1;
       access((free + "-rr-snp").c_str(), F_OK) == 0 || access((free + "-rr-nondet.log").c_str(), F_OK) == 0; i++)
    free = name + "-" + std::to_string(i);
  return free;
}

uint32_t Recctrl::act(CPUState *cpu, uint32_t action, target_ulong name_address) {
  const bool known = action == RECCTRL_TOGGLE || action == RECCTRL_SESSION_OPEN || action == RECCTRL_SESSION_CLOSE;
  if (!known || (action == RECCTRL_TOGGLE) == sessions_mode_) {
    say("the guest asks for the action %u: %s", action,
        !known           ? "there is none"
        : sessions_mode_ ? "with session_rec, sessions are opened and closed"
                         : "sessions need the argument session_rec");
    return RECCTRL_REFUSED_ACTION;
  }
  const bool begins =
      action == RECCTRL_SESSION_OPEN ? sessions_ == 0 : action == RECCTRL_TOGGLE && state_ == State::Idle;
  if (begins) {
    std::string name = "recctrl";
    if (name_address != 0) name = panda::read_string(cpu, name_address, kLongestName + 1).value_or("");
    if (!is_good_name(name)) {
      say("the guest wants a recording with a name that is refused: at most %zu of A-Z a-z 0-9 . _ -, the first not . "
          "or -",
          kLongestName);
      return RECCTRL_REFUSED_NAME;
    }
    const uint32_t answer = begin(name);
    if (answer != RECCTRL_OK) return answer;
  }
  if (action == RECCTRL_SESSION_OPEN) say("session %u opened", ++sessions_);
  if (action == RECCTRL_SESSION_CLOSE) {
    if (sessions_ == 0) {
      say("the guest closes a session, but none is open");
      return RECCTRL_REFUSED_ACTION;
    }
    say("session %u closed", sessions_--);
    if (sessions_ == 0) end("its last session is closed");
  } else if (!begins && action == RECCTRL_TOGGLE) {
    end("the guest asks for it");
  }
  return RECCTRL_OK;
}

uint32_t Recctrl::begin(const std::string &wanted) {
  const std::string name = free_name(wanted);
  if (state_ != State::Idle || (!dry_ && panda_record_begin(name.c_str(), nullptr) != RRCTRL_OK)) {
    say("the recording %s cannot begin: another one has not ended yet", name.c_str());
    return RECCTRL_REFUSED_BEGIN;
  }
  say("%srecording %s begins", dry_ ? "dry: " : "", name.c_str());
  state_ = State::Beginning;
  since_ = Clock::now();
  asked_at_ = rr_get_guest_instr_count();
  return RECCTRL_OK;
}

void Recctrl::end(const char *why) {
  if (state_ == State::Idle || state_ == State::Ending) return;
  if (!dry_ && panda_record_end() != RRCTRL_OK) return;
  say("%srecording ends: %s", dry_ ? "dry: " : "", why);
  state_ = State::Ending;
}

// Whether what was asked for has happened. The engine stops for it within a few instructions: a recording that has
// not begun long after that has failed, which was said.
void Recctrl::watch() {
  const bool recording = dry_ ? state_ != State::Ending : rr_in_record();
  if (state_ == State::Beginning && recording) state_ = State::Recording;
  if (state_ == State::Beginning && rr_get_guest_instr_count() - asked_at_ > kStopInstructions) {
    state_ = State::Idle;
    sessions_ = 0;
  }
  if (state_ == State::Recording && timeout_s_ != 0 && Clock::now() - since_ >= std::chrono::seconds(timeout_s_)) {
    end("its time is over");
  }
  if ((state_ == State::Recording || state_ == State::Ending) && !recording) over();
}

void Recctrl::over() {
  state_ = State::Idle;
  sessions_ = 0;
  recorded_++;
  if (most_ == 0 || recorded_ < most_) return;
  say("%u recordings are made: the run ends", recorded_);
  panda_vm_quit();
}

}  // namespace

PANDA_PLUGIN(Recctrl)
