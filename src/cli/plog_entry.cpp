#include "cli/plog_entry.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>

namespace panda::cli {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

// ---- schema

Result<std::unique_ptr<PlogSchema>> PlogSchema::create(std::string_view descriptors, const std::string& where) {
  std::unique_ptr<PlogSchema> schema(new PlogSchema);
  pb::FileDescriptorSet set;
  schema->pool_ = std::make_unique<pb::DescriptorPool>();
  bool good = set.ParseFromArray(descriptors.data(), static_cast<int>(descriptors.size()));
  for (const pb::FileDescriptorProto& file : set.file()) good = good && schema->pool_->BuildFile(file) != nullptr;
  const pb::Descriptor* entry = good ? schema->pool_->FindMessageTypeByName("panda.LogEntry") : nullptr;
  for (const char* name : {"pc", "instr"}) {
    const Field* f = entry != nullptr ? entry->FindFieldByName(name) : nullptr;
    good = good && f != nullptr && f->type() == Field::TYPE_UINT64 && !f->is_repeated();
  }
  if (!good) return fail("{}: is not the schema of pandalogs: expected the plog.desc of a build's plog/ARCH/", where);
  schema->entry_ = entry;
  schema->factory_ = std::make_unique<pb::DynamicMessageFactory>();
  return schema;
}

std::unique_ptr<pb::Message> PlogSchema::new_entry() const {
  return std::unique_ptr<pb::Message>(factory_->GetPrototype(entry_)->New());
}

// ---- filters

namespace {

std::vector<const Field*> set_fields(const pb::Message& message) {
  std::vector<const Field*> out;
  message.GetReflection()->ListFields(message, &out);
  return out;
}

std::optional<uint64_t> number(const pb::Message& m, const Field* f) {
  if (f->is_repeated()) return std::nullopt;
  const pb::Reflection& r = *m.GetReflection();
  switch (f->cpp_type()) {
    case Field::CPPTYPE_UINT64:
      return r.GetUInt64(m, f);
    case Field::CPPTYPE_UINT32:
      return r.GetUInt32(m, f);
    case Field::CPPTYPE_INT64:
      return static_cast<uint64_t>(r.GetInt64(m, f));
    case Field::CPPTYPE_INT32:
      return static_cast<uint64_t>(r.GetInt32(m, f));
    default:
      return std::nullopt;
  }
}

// Some field of the message, or of one inside it, is as `test` wants it.
template <typename Test>
bool any_field(const pb::Message& message, const Test& test) {
  const pb::Reflection& r = *message.GetReflection();
  for (const Field* f : set_fields(message)) {
    if (test(message, f)) return true;
    if (f->cpp_type() != Field::CPPTYPE_MESSAGE) continue;
    const int count = f->is_repeated() ? r.FieldSize(message, f) : 1;
    for (int i = 0; i < count; i++) {
      if (any_field(f->is_repeated() ? r.GetRepeatedMessage(message, f, i) : r.GetMessage(message, f), test))
        return true;
    }
  }
  return false;
}

template <typename T>
bool contains(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

// What carries a process in the fragments of plugins.
const std::vector<std::string> kAsidNames = {"asid"};
const std::vector<std::string> kPidNames = {"pid", "process_id", "src_pid", "dst_pid"};
const std::vector<std::string> kProcessNames = {"process_name", "proc_name", "src_name", "dst_name"};

bool has_number(const pb::Message& entry, const std::vector<std::string>& names, const std::vector<uint64_t>& values) {
  return any_field(entry, [&](const pb::Message& m, const Field* f) {
    const auto value = contains(names, f->name()) ? number(m, f) : std::nullopt;
    return value && contains(values, *value);
  });
}

bool names_process(const pb::Message& m, const Field* f) {
  if (f->cpp_type() != Field::CPPTYPE_STRING) return false;
  if (contains(kProcessNames, f->name())) return true;
  // `name` and `names` are a process's where a pid stands beside.
  return (f->name() == "name" || f->name() == "names") && m.GetDescriptor()->FindFieldByName("pid") != nullptr;
}

}  // namespace

bool PlogFilter::wants(const pb::Message& entry) const {
  if (!fields.empty()) {
    const std::vector<const Field*> there = set_fields(entry);
    if (std::none_of(there.begin(), there.end(), [&](const Field* f) { return contains(fields, f->name()); }))
      return false;
  }
  if (!asids.empty() && !has_number(entry, kAsidNames, asids)) return false;
  if (!pids.empty() && !has_number(entry, kPidNames, pids)) return false;
  if (processes.empty()) return true;
  return any_field(entry, [&](const pb::Message& m, const Field* f) {
    if (!names_process(m, f)) return false;
    const pb::Reflection& r = *m.GetReflection();
    if (!f->is_repeated()) return contains(processes, r.GetString(m, f));
    for (int i = 0; i < r.FieldSize(m, f); i++) {
      if (contains(processes, r.GetRepeatedString(m, f, i))) return true;
    }
    return false;
  });
}

// ---- output

namespace {

bool is_address(std::string_view name) {
  return name == "asid" || name == "pc" || name == "pcs" || name == "ptr" || name.ends_with("addr") || name == "buf";
}

std::string value_text(const pb::Message& m, const Field* f, int index);

std::string fields_text(const pb::Message& message, bool top) {
  std::string out;
  for (const Field* f : set_fields(message)) {
    if (top && (f->name() == "pc" || f->name() == "instr")) continue;
    if (!out.empty()) out += ' ';
    out += f->name() + "=";
    if (!f->is_repeated()) {
      out += value_text(message, f, -1);
      continue;
    }
    out += '[';
    for (int i = 0; i < message.GetReflection()->FieldSize(message, f); i++)
      out += (i > 0 ? "," : "") + value_text(message, f, i);
    out += ']';
  }
  const pb::UnknownFieldSet& unknown = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); i++)
    out += fmt::format("{}tag_{}=?", out.empty() ? "" : " ", unknown.field(i).number());
  return out;
}

std::string value_text(const pb::Message& m, const Field* f, int index) {
  const pb::Reflection& r = *m.GetReflection();
  if (f->cpp_type() == Field::CPPTYPE_MESSAGE) {
    return "{" + fields_text(index < 0 ? r.GetMessage(m, f) : r.GetRepeatedMessage(m, f, index), false) + "}";
  }
  if (f->cpp_type() == Field::CPPTYPE_UINT64 && is_address(f->name())) {
    return fmt::format("{:#x}", index < 0 ? r.GetUInt64(m, f) : r.GetRepeatedUInt64(m, f, index));
  }
  std::string text;
  pb::TextFormat::PrintFieldValueToString(m, f, index, &text);
  return text;
}

}  // namespace

PlogPosition position_of(const pb::Message& entry) {
  const pb::Descriptor& d = *entry.GetDescriptor();
  const pb::Reflection& r = *entry.GetReflection();
  return {r.GetUInt64(entry, d.FindFieldByName("pc")), r.GetUInt64(entry, d.FindFieldByName("instr"))};
}

std::string plog_text(const pb::Message& entry) {
  const PlogPosition at = position_of(entry);
  return fmt::format("instr={}  pc={:#x} :  {}", at.instr, at.pc, fields_text(entry, true));
}

Result<std::string> plog_json(const pb::Message& entry) {
  pb::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string out;
  if (const auto status = pb::util::MessageToJsonString(entry, &out, options); !status.ok()) {
    return fail("an entry cannot be shown as JSON: {}", std::string(status.message()));
  }
  return out;
}

}  // namespace panda::cli
