// Entries of a pandalog by the schema of their plugins: the program that shows them knows no field,
// it is given them as descriptors.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace panda::cli {

class PlogSchema {
 public:
  // The descriptor set of a merged plog.proto; `where` names it in messages.
  static Result<std::unique_ptr<PlogSchema>> create(std::string_view descriptors, const std::string& where);

  [[nodiscard]] const google::protobuf::Descriptor& entry() const { return *entry_; }
  [[nodiscard]] std::unique_ptr<google::protobuf::Message> new_entry() const;

 private:
  PlogSchema() = default;

  std::unique_ptr<google::protobuf::DescriptorPool> pool_;
  std::unique_ptr<google::protobuf::DynamicMessageFactory> factory_;  // before the pool it goes
  const google::protobuf::Descriptor* entry_ = nullptr;
};

// Which entries are wanted; what is empty excludes nothing.
struct PlogFilter {
  std::vector<std::string> fields;  // has one of these
  // Any field of the entry that carries it, in the messages of plugins too, has one of these values.
  std::vector<uint64_t> asids;
  std::vector<uint64_t> pids;
  std::vector<std::string> processes;

  [[nodiscard]] bool wants(const google::protobuf::Message& entry) const;
};

struct PlogPosition {
  uint64_t pc = 0;
  uint64_t instr = 0;
};
[[nodiscard]] PlogPosition position_of(const google::protobuf::Message& entry);

// "instr=16356  pc=0xc12c3586 :  asid=0x2 process_id=171 process_name="jbd2""
[[nodiscard]] std::string plog_text(const google::protobuf::Message& entry);
// One line: names as in the .proto, 64-bit numbers as strings, bytes in base64.
Result<std::string> plog_json(const google::protobuf::Message& entry);

}  // namespace panda::cli
