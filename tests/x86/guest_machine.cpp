#include "guest_machine.h"

#include <fstream>
#include <iterator>

#include "base/check.h"
#include "base/virtual_clock.h"
#include "guest/x86/cpu_models.h"
#include "guest/x86/frontend.h"
#include "guest/x86/system.h"
#include "memory/guest_memory.h"

namespace panda::x86test {
namespace {

constexpr uint64_t kRamBytes = 4 << 20;
constexpr uint64_t kLoadAddress = 0x1000;
constexpr uint16_t kLogPort = 0xe9, kInterruptPort = 0xea, kExitPort = 0xf4;
constexpr uint32_t kRealModeSegment = 0x9300;

}  // namespace

GuestMachine::GuestMachine(const std::string& program, BackendKind backend, bool is_64bit)
    : GuestMachine(program, [backend](exec::Frontend&, GuestMemory&) { return make_backend(backend); }, is_64bit) {}

GuestMachine::GuestMachine(const std::string& program, const MakeBackend& make, bool is_64bit) {
  std::ifstream file(std::string(PANDA_GUEST_PROGRAMS) + "/" + program + ".bin", std::ios::binary);
  const std::vector<char> image{std::istreambuf_iterator<char>(file), {}};
  PANDA_CHECK(!image.empty() && "guest program");
  memory_ = std::move(*GuestMemory::create(kRamBytes, {{0, kRamBytes, 0}}));
  memory_->write(GuestPhysAddr(kLoadAddress), image.data(), image.size());
  const auto cpu = x86::parse_cpu("max", is_64bit);
  PANDA_CHECK(cpu.has_value());
  frontend_ = std::make_unique<x86::X86Frontend>(is_64bit, cpu->model);
  backend_ = make(*frontend_, *memory_);
  engine_ = std::make_unique<exec::Engine>(*frontend_, *backend_, *memory_, clock_);
  engine_->set_verify(true);
  x86::Cpu c(engine_->cpu());
  x86::apply_cpu(c.s(), *cpu);
  frontend_->reset(engine_->cpu());
  for (unsigned seg = 0; seg < 6; seg++)
    x86::set_segment(c, seg, 0, 0, 0xffff, kRealModeSegment | (seg == R_CS ? 0x800u : 0u));
  c.s().eip = kLoadAddress;
  c.set_reg(R_ESP, 0x8000);
  x86::update_hflags(c);
  engine_->set_outside(*this);
}

GuestMachine::~GuestMachine() = default;

void GuestMachine::port_write(uint16_t port, unsigned, uint64_t value) {
  switch (port) {
    case kLogPort:
      log_.push_back(static_cast<uint32_t>(value));
      break;
    case kInterruptPort:
      vector_ = static_cast<uint8_t>(value);
      break;
    case kExitPort:
      ended_ = true;
      break;
    default:
      break;
  }
}

std::optional<uint8_t> GuestMachine::acknowledge_interrupt(InsnCount) {
  const auto vector = static_cast<uint8_t>(vector_);
  vector_ = -1;
  return vector;
}

void GuestMachine::advance(uint64_t insns) {
  if (ended_) return;
  const exec::StopReason why = engine_->run(engine_->count() + insns);
  if (why == exec::StopReason::Shutdown || why == exec::StopReason::IdleForever) shut_down_ = ended_ = true;
}

void GuestMachine::run(uint64_t step, uint64_t limit) {
  while (!ended_ && count() < limit) advance(step != 0 ? step : limit - count());
}

std::string GuestMachine::cpu_state() { return frontend_->save_state(engine_->cpu()); }
std::string GuestMachine::describe() { return frontend_->describe_registers(engine_->cpu()); }

std::vector<uint8_t> GuestMachine::ram() {
  std::vector<uint8_t> bytes(kRamBytes);
  memory_->read(GuestPhysAddr(0), bytes.data(), bytes.size());
  return bytes;
}

}  // namespace panda::x86test
