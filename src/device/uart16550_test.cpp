#include "device/uart16550.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace panda::device {
namespace {

constexpr uint16_t kBase = 0x3f8;

struct Uart16550Test : testing::Test {
  std::string sent;
  bool irq = false;
  QueueChar out{[this](uint8_t byte) { sent += static_cast<char>(byte); }};
  Uart16550 uart{kBase, IrqLine([this](bool level) { irq = level; }), out};

  uint32_t in(unsigned reg) { return uart.port_read(static_cast<uint16_t>(kBase + reg), 1); }
  void write(unsigned reg, uint32_t value) { uart.port_write(static_cast<uint16_t>(kBase + reg), 1, value); }
};

TEST_F(Uart16550Test, TransmitsAndReportsEmptyByInterrupt) {
  write(4, 0x08);  // OUT2
  EXPECT_FALSE(irq);
  write(1, 0x02);  // enabling raises it: the transmitter is empty
  EXPECT_TRUE(irq);
  EXPECT_EQ(in(2) & 0x0f, 2u);  // reading acknowledges
  EXPECT_FALSE(irq);
  EXPECT_EQ(in(2) & 0x0f, 1u);
  write(0, 'x');
  EXPECT_EQ(sent, "x");
  EXPECT_TRUE(irq);
  EXPECT_EQ(in(5), 0x60u);
  // Off and on again raises it again: how Linux tells good UARTs from bad ones.
  in(2);
  write(1, 0);
  write(1, 2);
  EXPECT_EQ(in(2) & 0x0f, 2u);
}

// A byte is read from the place in the FIFO that it was received into, whatever else is queued.
TEST_F(Uart16550Test, TellsWhereEachByteIsInTheFifos) {
  struct Seen final : SerialObserver {
    std::vector<SerialTraffic> traffic;
    void serial_traffic(const SerialTraffic& t) override { traffic.push_back(t); }
  } seen;
  using Kind = SerialTraffic::Kind;
  uart.set_observer(&seen);
  write(2, 0x01);
  uart.receive('a');
  uart.receive('b');
  EXPECT_EQ(in(0), uint32_t{'a'});
  uart.receive('c');
  EXPECT_EQ(in(0), uint32_t{'b'});
  write(0, 'x');
  EXPECT_EQ(in(0), uint32_t{'c'});
  in(0);  // empty: nothing is read
  write(3, 0x80);
  write(0, 12);  // the divisor
  in(0);
  EXPECT_EQ(seen.traffic, (std::vector<SerialTraffic>{{Kind::Received, kBase, 0, 'a'},
                                                      {Kind::Received, kBase, 1, 'b'},
                                                      {Kind::Read, kBase, 0, 'a'},
                                                      {Kind::Received, kBase, 2, 'c'},
                                                      {Kind::Read, kBase, 1, 'b'},
                                                      {Kind::Sent, kBase, 0, 'x'},
                                                      {Kind::Read, kBase, 2, 'c'}}));
}

TEST_F(Uart16550Test, Out2GatesTheInterrupt) {
  write(1, 0x02);
  EXPECT_FALSE(irq);
  write(4, 0x08);
  EXPECT_TRUE(irq);
}

TEST_F(Uart16550Test, FifoTriggerTimeoutAndPriority) {
  write(4, 0x08);
  write(2, 0x41);  // FIFO on, trigger at 4
  write(1, 0x07);
  EXPECT_EQ(in(2), 0xc2u);
  for (int i = 0; i < 3; ++i) uart.receive(static_cast<uint8_t>('a' + i));
  EXPECT_EQ(in(2), 0xccu);  // below the trigger: time-out
  uart.receive('d');
  EXPECT_EQ(in(2), 0xc4u);
  for (int i = 4; i < 16; ++i) uart.receive(static_cast<uint8_t>('a' + i));
  EXPECT_FALSE(uart.can_receive());
  uart.receive('!');  // overrun: line status has priority over data
  EXPECT_EQ(in(2), 0xc6u);
  EXPECT_EQ(in(5), 0x63u);
  EXPECT_EQ(in(5), 0x61u);  // reading cleared it
  std::string got;
  while ((in(5) & 1) != 0) got += static_cast<char>(in(0));
  EXPECT_EQ(got, "abcdefghijklmnop");
  EXPECT_FALSE(irq);
}

TEST_F(Uart16550Test, LoopbackOfDataAndModemLines) {
  write(4, 0x10 | 0x0a);
  EXPECT_EQ(in(6) & 0xf0, 0x90u);  // RTS -> CTS, OUT2 -> DCD
  write(0, 0x5a);
  EXPECT_EQ(sent, "");
  EXPECT_FALSE(uart.can_receive());
  EXPECT_EQ(in(0), 0x5au);
  write(4, 0x0b);
  EXPECT_EQ(in(6) & 0xf0, 0xb0u);
}

TEST_F(Uart16550Test, DivisorLatchAndScratch) {
  write(3, 0x83);
  write(0, 0x34);
  write(1, 0x12);
  EXPECT_EQ(in(0), 0x34u);
  EXPECT_EQ(in(1), 0x12u);
  write(3, 0x03);
  write(7, 0xa5);
  EXPECT_EQ(in(7), 0xa5u);
  EXPECT_EQ(in(1), 0u);
  EXPECT_EQ(sent, "");
}

}  // namespace
}  // namespace panda::device
