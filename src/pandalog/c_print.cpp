// Printing for the C interface (include/panda/plog_print.h), by the descriptors that protobuf-c entries carry.
#include <protobuf-c/protobuf-c.h>

#include <cinttypes>
#include <cstdio>
#include <string_view>

#include "pandalog/format.h"

namespace {

using Field = ProtobufCFieldDescriptor;

template <typename T>
T at(const void* where) {
  return panda::pandalog::load<T>(static_cast<const uint8_t*>(where));
}

size_t value_size(ProtobufCType type) {
  switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
      return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
      return sizeof(void*);
    case PROTOBUF_C_TYPE_BYTES:
      return sizeof(ProtobufCBinaryData);
    default:
      return 4;  // with bool, which protobuf-c has as an int
  }
}

void print_message(const ProtobufCMessage* message, bool top);

void print_value(const Field& f, const void* value) {
  switch (f.type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
      std::printf("%" PRId32, at<int32_t>(value));
      break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_BOOL:
      std::printf("%" PRIu32, at<uint32_t>(value));
      break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
      std::printf("%" PRId64, at<int64_t>(value));
      break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
      std::printf("%" PRIu64, at<uint64_t>(value));
      break;
    case PROTOBUF_C_TYPE_FLOAT:
      std::printf("%g", static_cast<double>(at<float>(value)));
      break;
    case PROTOBUF_C_TYPE_DOUBLE:
      std::printf("%g", at<double>(value));
      break;
    case PROTOBUF_C_TYPE_ENUM: {
      const auto number = at<int32_t>(value);
      const auto* of = static_cast<const ProtobufCEnumDescriptor*>(f.descriptor);
      const ProtobufCEnumValue* named = protobuf_c_enum_descriptor_get_value(of, number);
      if (named != nullptr) {
        std::printf("%s", named->name);
      } else {
        std::printf("%" PRId32, number);
      }
      break;
    }
    case PROTOBUF_C_TYPE_STRING:
      std::printf("%s", at<const char*>(value));
      break;
    case PROTOBUF_C_TYPE_BYTES: {
      const auto bytes = at<ProtobufCBinaryData>(value);
      for (size_t i = 0; i < bytes.len; i++) std::printf("%02x", bytes.data[i]);
      break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
      std::printf("{");
      print_message(at<const ProtobufCMessage*>(value), false);
      std::printf(" }");
      break;
  }
}

bool is_set(const Field& f, const uint8_t* message) {
  if (f.label == PROTOBUF_C_LABEL_REPEATED) return at<size_t>(message + f.quantifier_offset) != 0;
  if (f.type == PROTOBUF_C_TYPE_STRING || f.type == PROTOBUF_C_TYPE_MESSAGE) {
    const auto* pointer = at<const void*>(message + f.offset);
    return pointer != nullptr && pointer != f.default_value;
  }
  return f.label == PROTOBUF_C_LABEL_REQUIRED || at<protobuf_c_boolean>(message + f.quantifier_offset) != 0;
}

void print_message(const ProtobufCMessage* message, bool top) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(message);
  for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
    const Field& f = message->descriptor->fields[i];
    const std::string_view name = f.name;
    if (!is_set(f, bytes) || (top && (name == "pc" || name == "instr"))) continue;
    std::printf(" %s=", f.name);
    if (f.label != PROTOBUF_C_LABEL_REPEATED) {
      print_value(f, bytes + f.offset);
      continue;
    }
    const auto* values = at<const uint8_t*>(bytes + f.offset);
    std::printf("[");
    for (size_t n = 0; n < at<size_t>(bytes + f.quantifier_offset); n++) {
      if (n != 0) std::printf(",");
      print_value(f, values + n * value_size(f.type));
    }
    std::printf("]");
  }
}

uint64_t number(const ProtobufCMessage* entry, const char* name) {
  const Field* f = protobuf_c_message_descriptor_get_field_by_name(entry->descriptor, name);
  return f != nullptr && f->type == PROTOBUF_C_TYPE_UINT64
             ? at<uint64_t>(reinterpret_cast<const uint8_t*>(entry) + f->offset)
             : 0;
}

}  // namespace

extern "C" {

void panda_pprint_message(const ProtobufCMessage* message) {
  if (message != nullptr) print_message(message, false);
}

void pprint_ple(ProtobufCMessage* ple) {
  if (ple == nullptr) return;
  std::printf("instr=%" PRIu64 "  pc=0x%" PRIx64 " :", number(ple, "instr"), number(ple, "pc"));
  print_message(ple, true);
  std::printf("\n");
}

}  // extern "C"
