// Plugins in C++20: a thin layer over the C API (panda/plugin.h), header-only. A whole plugin:
//
//     #include "panda/plugin.hpp"
//     namespace {
//     struct Count : panda::Plugin {                 // made by init_plugin, destroyed by uninit_plugin
//       uint64_t blocks = 0;
//       panda::Output out;
//       Count() {
//         panda::Arguments args = arguments();       // -panda 'count:file=x,kernel'
//         const std::string file = args.text("file", "count.txt", "where to write");
//         const bool kernel = args.flag("kernel", "the kernel's too");
//         args.done();                               // leaves here where an argument was wrong
//         out = panda::Output(file);                 // throws panda::Refusal: the plugin is not loaded
//         on_before_block_exec([this, kernel](CPUState *cpu, TranslationBlock *) {
//           if (kernel || !panda_in_kernel(cpu)) blocks++;
//         });
//       }
//       ~Count() { out.print("%" PRIu64 " blocks\n", blocks); }
//     };
//     }  // namespace
//     PANDA_PLUGIN(Count)
//
// Callbacks: on_NAME(f) for every row of panda/callbacks/cb-table.inc, with its arguments; f may capture,
// and may return nothing where the result says "not handled" by being 0. It stays for the plugin's life; the
// Callback& that is returned can disable(), enable() and remove() it, from inside itself too. A callback with a
// life of its own: panda::Callback c = panda::Callback::make<PANDA_CB_INSN_EXEC>(self(), f).
// Other plugins' callbacks: PANDA_ON("other", name, f), `name` as in PPP_REG_CB; loads the other plugin.
//
// Memory: panda::read<uint32_t>(cpu, address) is an optional; read_bytes, read_string, write, and the same of
// physical addresses (read_physical ...).
//
// Errors: panda::refuse("why %s", x) in the constructor: the plugin is not loaded, and that is why. Any other
// exception out of the constructor does the same; one out of a callback disables the plugin. The guest goes on.
// Thread: the guest's, as everything in the C API.
#ifndef PANDA_PLUGIN_HPP
#define PANDA_PLUGIN_HPP

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "panda/plugin.h"
#include "panda/plugin_plugin.h"

namespace panda {
// A name that the executable has nowhere: its own symbols would take precedence over a plugin's.
inline namespace plugin_layer {

// Why a plugin does not load.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

__attribute__((format(printf, 1, 2))) [[noreturn]] inline void refuse(const char *format, ...) {
  va_list list;
  va_start(list, format);
  char *text = nullptr;
  const int size = vasprintf(&text, format, list);
  va_end(list);
  const std::string message(size >= 0 ? text : format);
  if (size >= 0) std::free(text);
  throw Refusal(message);
}

// ---- arguments

// What the plugin was loaded with. Each one that the plugin has must be asked for, once, with its help text.
class Arguments {
 public:
  explicit Arguments(const char *plugin) : list_(panda_get_args(plugin)) {}
  Arguments(Arguments &&other) noexcept : list_(std::exchange(other.list_, nullptr)) {}
  Arguments &operator=(Arguments &&) = delete;
  ~Arguments() noexcept(false) { done(); }

  // Nothing more is asked for. Leaves init_plugin where something was wrong, or only help was wanted.
  void done() {
    if (list_ != nullptr) panda_free_args(std::exchange(list_, nullptr));
  }

  [[nodiscard]] bool flag(const char *name, const char *help) { return panda_parse_bool_opt(list_, name, help); }
  template <std::integral T>
  [[nodiscard]] T number(const char *name, T fallback, const char *help) {
    return fit<T>(name, panda_parse_uint64_opt(list_, name, static_cast<uint64_t>(fallback), help));
  }
  [[nodiscard]] double real(const char *name, double fallback, const char *help) {
    return panda_parse_double_opt(list_, name, fallback, help);
  }
  [[nodiscard]] std::string text(const char *name, const char *fallback, const char *help) {
    return panda_parse_string_opt(list_, name, fallback, help);
  }
  // Those without which the plugin is not loaded.
  template <std::integral T>
  [[nodiscard]] T required_number(const char *name, const char *help) {
    return fit<T>(name, panda_parse_uint64_req(list_, name, help));
  }
  [[nodiscard]] std::string required_text(const char *name, const char *help) {
    return panda_parse_string_req(list_, name, help);
  }
  // The guest's word: an address.
  [[nodiscard]] target_ulong address(const char *name, target_ulong fallback, const char *help) {
    return panda_parse_ulong_opt(list_, name, fallback, help);
  }
  [[nodiscard]] target_ulong required_address(const char *name, const char *help) {
    return panda_parse_ulong_req(list_, name, help);
  }
  [[nodiscard]] bool given(const char *name) const {
    for (int i = 0; i < list_->nargs; i++) {
      if (std::strcmp(list_->list[i].key, name) == 0) return true;
    }
    return false;
  }

 private:
  template <std::integral T>
  static T fit(const char *name, uint64_t value) {
    if (static_cast<uint64_t>(static_cast<T>(value)) != value) refuse("the argument '%s' is too large", name);
    return static_cast<T>(value);
  }

  panda_arg_list *list_;
};

// ---- callbacks

namespace detail {

// A function object on the heap. It lives as long as it is registered or runs. One that unregisters itself is
// destroyed later, by the next that goes: so that nothing is called behind it, and translated code may call it itself.
struct Closure {
  unsigned running = 0;
  Closure() = default;
  Closure(const Closure &) = delete;
  Closure &operator=(const Closure &) = delete;
  virtual ~Closure() = default;
};
template <typename F>
struct ClosureOf : Closure {
  F function;
  explicit ClosureOf(F f) : function(std::move(f)) {}
};
// Hidden: the linker must not merge it with another plugin's.
__attribute__((visibility("hidden"))) inline std::vector<std::unique_ptr<Closure>> &gone() {
  static std::vector<std::unique_ptr<Closure>> closures;
  return closures;
}
inline void release(Closure *closure) {
  std::vector<std::unique_ptr<Closure>> &closures = gone();
  closures.emplace_back(closure);
  // What a function object holds may release others when it goes.
  for (size_t i = 0; i < closures.size();) {
    if (closures[i]->running != 0) {
      i++;
      continue;
    }
    const std::unique_ptr<Closure> done = std::move(closures[i]);
    closures.erase(closures.begin() + static_cast<std::ptrdiff_t>(i));
    i = 0;
  }
}
class Hold {
 public:
  explicit Hold(Closure *closure) : closure_(closure) { closure->running++; }
  Hold(const Hold &) = delete;
  Hold &operator=(const Hold &) = delete;
  ~Hold() { closure_->running--; }

 private:
  Closure *closure_;
};

template <panda_cb_type Type>
struct SignatureOf;
#define PANDA_CALLBACK(ID, member, kind, result, ...) \
  template <>                                   \
  struct SignatureOf<PANDA_CB_##ID> {           \
    using type = result(__VA_ARGS__);           \
  };
#define PANDA_CALLBACK_NOARGS(ID, member, kind, result) PANDA_CALLBACK(ID, member, kind, result, )
#include "panda/callbacks/cb-table.inc"

// The C function that calls F. ZeroMeansNothing: F may return void although the callback has a result.
template <bool ZeroMeansNothing, typename F, typename Signature>
struct Adapter;
template <bool ZeroMeansNothing, typename F, typename R, typename... A>
struct Adapter<ZeroMeansNothing, F, R(A...)> {
  static_assert(std::is_invocable_v<F &, A...>, "the function does not take this callback's arguments");
  static R call(void *context, A... arguments) {
    auto *closure = static_cast<ClosureOf<F> *>(static_cast<Closure *>(context));
    const Hold hold(closure);
    if constexpr (std::is_void_v<R>) {
      static_cast<void>(closure->function(arguments...));
    } else if constexpr (std::is_void_v<std::invoke_result_t<F &, A...>>) {
      static_assert(ZeroMeansNothing, "this callback's function must return a result");
      closure->function(arguments...);
      return R{};
    } else {
      return static_cast<R>(closure->function(arguments...));
    }
  }
};

constexpr bool zero_means_nothing(panda_cb_type type) {
  return type != PANDA_CB_BEFORE_HANDLE_EXCEPTION && type != PANDA_CB_BEFORE_HANDLE_INTERRUPT;
}

// A function object of a memory callback may have a filter (panda_filter_callback()):
//   static bool wants(const F &, target_ulong pc, target_ulong addr, size_t size, const uint8_t *data)
template <typename F>
concept has_filter = requires(const F &f) { F::wants(f, target_ulong{}, target_ulong{}, size_t{}, nullptr); };
template <typename F>
struct FilterOf {
  static bool call(void *context, CPUState *, target_ptr_t pc, target_ptr_t addr, size_t size, uint8_t *data) {
    return F::wants(static_cast<const ClosureOf<F> *>(static_cast<const Closure *>(context))->function, pc, addr, size,
                    data);
  }
};

}  // namespace detail

// One registered function: unregistered when this is destroyed.
class Callback {
 public:
  Callback() = default;
  template <panda_cb_type Type, typename F>
  [[nodiscard]] static Callback make(void *self, F function) {
    using Signature = typename detail::SignatureOf<Type>::type;
    Callback made;
    made.self_ = self;
    made.type_ = Type;
    made.closure_ = new detail::ClosureOf<F>(std::move(function));
    made.function_.cbaddr = reinterpret_cast<void (*)()>(
        &detail::Adapter<detail::zero_means_nothing(Type), F, Signature>::call);
    panda_register_callback_with_context(self, Type, made.function_, made.closure_);
    if constexpr (detail::has_filter<F>) {
      panda_filter_callback(self, Type, made.function_, made.closure_, &detail::FilterOf<F>::call);
    }
    return made;
  }
  Callback(Callback &&other) noexcept { *this = std::move(other); }
  Callback &operator=(Callback &&other) noexcept {
    if (this == &other) return *this;
    remove();
    self_ = other.self_;
    type_ = other.type_;
    function_ = other.function_;
    closure_ = std::exchange(other.closure_, nullptr);
    return *this;
  }
  ~Callback() { remove(); }

  [[nodiscard]] bool registered() const { return closure_ != nullptr; }
  void enable() {
    if (closure_ != nullptr) panda_enable_callback_with_context(self_, type_, function_, closure_);
  }
  void disable() {
    if (closure_ != nullptr) panda_disable_callback_with_context(self_, type_, function_, closure_);
  }
  void remove() {
    detail::Closure *const closure = std::exchange(closure_, nullptr);
    if (closure == nullptr) return;
    panda_unregister_callback_with_context(self_, type_, function_, closure);
    detail::release(closure);
  }

 private:
  void *self_ = nullptr;
  panda_cb_type type_ = PANDA_CB_LAST;
  panda_cb_with_context function_{};
  detail::Closure *closure_ = nullptr;
};

// A function registered with another plugin's callback (PPP): removed when this is destroyed.
class Subscription {
 public:
  Subscription() = default;
  // `FunctionPointer`: the callback's type, NAME_t in the other plugin's header.
  template <typename FunctionPointer, typename F>
  [[nodiscard]] static Subscription make(const char *plugin, const char *callback, F function) {
    using Signature = std::remove_pointer_t<FunctionPointer>;
    void *const handle = panda_need_plugin(plugin);
    if (handle == nullptr) refuse("needs the plugin %s", plugin);
    const std::string add = std::string("ppp_add_cb_") + callback + "_with_context";
    auto *const adder = reinterpret_cast<void (*)(ppp_function_t, void *)>(dlsym(handle, add.c_str()));
    if (adder == nullptr) refuse("the plugin %s offers no callback %s", plugin, callback);
    Subscription made;
    made.plugin_ = plugin;
    made.callback_ = callback;
    made.closure_ = new detail::ClosureOf<F>(std::move(function));
    made.function_ = reinterpret_cast<ppp_function_t>(&detail::Adapter<true, F, Signature>::call);
    adder(made.function_, made.closure_);
    return made;
  }
  Subscription(Subscription &&other) noexcept { *this = std::move(other); }
  Subscription &operator=(Subscription &&other) noexcept {
    if (this == &other) return *this;
    remove();
    plugin_ = std::move(other.plugin_);
    callback_ = std::move(other.callback_);
    function_ = other.function_;
    closure_ = std::exchange(other.closure_, nullptr);
    return *this;
  }
  ~Subscription() { remove(); }
  void remove() {
    detail::Closure *const closure = std::exchange(closure_, nullptr);
    if (closure == nullptr) return;
    if (void *const handle = panda_get_plugin_by_name(plugin_.c_str())) {
      const std::string name = "ppp_remove_cb_" + callback_ + "_with_context";
      auto *const remover = reinterpret_cast<bool (*)(ppp_function_t, void *)>(dlsym(handle, name.c_str()));
      if (remover != nullptr) remover(function_, closure);
    }
    detail::release(closure);
  }

 private:
  std::string plugin_;
  std::string callback_;
  ppp_function_t function_ = nullptr;
  detail::Closure *closure_ = nullptr;
};

namespace detail {
// Hidden: the linker must not merge it with another plugin's.
__attribute__((visibility("hidden"))) inline void *&loading() {
  static void *self = nullptr;
  return self;
}
}  // namespace detail

class Plugin {
 public:
  Plugin() : self_(detail::loading()) {}
  Plugin(const Plugin &) = delete;
  Plugin &operator=(const Plugin &) = delete;
  virtual ~Plugin() = default;

  [[nodiscard]] void *self() const { return self_; }
  [[nodiscard]] const char *name() const { return panda_plugin_name(self_); }
  [[nodiscard]] Arguments arguments() const { return Arguments(name()); }

#define PANDA_CALLBACK(ID, member, kind, result, ...)                                        \
  template <typename F>                                                                \
  Callback &on_##member(F function) {                                                  \
    return keep(Callback::make<PANDA_CB_##ID>(self_, std::move(function)));            \
  }
#define PANDA_CALLBACK_NOARGS(ID, member, kind, result) PANDA_CALLBACK(ID, member, kind, result, )
#include "panda/callbacks/cb-table.inc"

  template <typename FunctionPointer, typename F>
  Subscription &on_plugin(const char *plugin, const char *callback, F function) {
    return subscriptions_.emplace_back(Subscription::make<FunctionPointer>(plugin, callback, std::move(function)));
  }
#define PANDA_ON(other_plugin, cb_name, function) on_plugin<cb_name##_t>(other_plugin, #cb_name, function)

  // One line on standard error that names the plugin.
  __attribute__((format(printf, 2, 3))) void say(const char *format, ...) const {
    va_list list;
    va_start(list, format);
    panda_plugin_message(self_, format, list);
    va_end(list);
  }

 private:
  Callback &keep(Callback callback) { return callbacks_.emplace_back(std::move(callback)); }

  void *self_;
  std::deque<Callback> callbacks_;
  std::deque<Subscription> subscriptions_;
};

namespace detail {
template <typename P>
__attribute__((visibility("hidden"))) std::unique_ptr<P> &instance() {
  static std::unique_ptr<P> plugin;
  return plugin;
}
template <typename P>
bool start(void *self) {
  loading() = self;
  try {
    instance<P>() = std::make_unique<P>();
    return true;
  } catch (const Refusal &why) {
    panda_refuse(self, why.what());
    return false;
  }
}
}  // namespace detail

#define PANDA_PLUGIN(Class)                                                                      \
  extern "C" bool init_plugin(void *self);                                                       \
  extern "C" void uninit_plugin(void *self);                                                     \
  extern "C" bool init_plugin(void *self) { return panda::detail::start<Class>(self); }          \
  extern "C" void uninit_plugin(void *) { panda::detail::instance<Class>().reset(); }

// ---- guest memory: RAM only; nullopt or false where something of it is not mapped

template <typename T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::optional<T> read(CPUState *cpu, target_ulong address) {
  T value;
  if (panda_virtual_memory_read(cpu, address, reinterpret_cast<uint8_t *>(&value), sizeof(T)) < 0) return std::nullopt;
  return value;
}
template <typename T>
  requires std::is_trivially_copyable_v<T>
bool write(CPUState *cpu, target_ulong address, const T &value) {
  T copy = value;
  return panda_virtual_memory_write(cpu, address, reinterpret_cast<uint8_t *>(&copy), sizeof(T)) >= 0;
}
template <typename T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::optional<T> read_physical(hwaddr address) {
  T value;
  if (panda_physical_memory_read(address, reinterpret_cast<uint8_t *>(&value), sizeof(T)) < 0) return std::nullopt;
  return value;
}
template <typename T>
  requires std::is_trivially_copyable_v<T>
bool write_physical(hwaddr address, const T &value) {
  T copy = value;
  return panda_physical_memory_write(address, reinterpret_cast<uint8_t *>(&copy), sizeof(T)) >= 0;
}
[[nodiscard]] inline std::optional<std::vector<uint8_t>> read_bytes(CPUState *cpu, target_ulong address, size_t size) {
  std::vector<uint8_t> bytes(size);
  if (panda_virtual_memory_read(cpu, address, bytes.data(), static_cast<int>(size)) < 0) return std::nullopt;
  return bytes;
}
// Up to its NUL, to what is mapped, or to `limit` bytes, whichever comes first; nullopt: nothing is mapped.
[[nodiscard]] inline std::optional<std::string> read_string(CPUState *cpu, target_ulong address, size_t limit = 4096) {
  std::string text;
  while (text.size() < limit) {
    char part[256];
    const target_ulong at = address + static_cast<target_ulong>(text.size());
    const size_t in_page = static_cast<size_t>(TARGET_PAGE_SIZE - (at & ~TARGET_PAGE_MASK));
    const size_t size = std::min({sizeof part, in_page, limit - text.size()});
    if (panda_virtual_memory_read(cpu, at, reinterpret_cast<uint8_t *>(part), static_cast<int>(size)) < 0) {
      if (text.empty()) return std::nullopt;
      break;
    }
    const size_t length = strnlen(part, size);
    text.append(part, length);
    if (length < size) break;
  }
  return text;
}

// ---- output

// A file that is written: what could not be written is said when it is closed. "-" is standard output, "" nowhere.
class Output {
 public:
  Output() = default;
  explicit Output(std::string path) : path_(std::move(path)) {
    if (path_.empty()) return;
    file_ = path_ == "-" ? stdout : std::fopen(path_.c_str(), "w");
    if (file_ == nullptr) refuse("cannot write %s: %s", path_.c_str(), std::strerror(errno));
  }
  Output(Output &&other) noexcept { *this = std::move(other); }
  Output &operator=(Output &&other) noexcept {
    if (this == &other) return *this;
    close();
    path_ = std::move(other.path_);
    file_ = std::exchange(other.file_, nullptr);
    return *this;
  }
  ~Output() { close(); }

  explicit operator bool() const { return file_ != nullptr; }
  [[nodiscard]] FILE *file() const { return file_; }
  __attribute__((format(printf, 2, 3))) void print(const char *format, ...) {
    if (file_ == nullptr) return;
    va_list list;
    va_start(list, format);
    std::vfprintf(file_, format, list);
    va_end(list);
  }
  void write(const void *bytes, size_t size) {
    if (file_ != nullptr) std::fwrite(bytes, 1, size, file_);
  }
  // False: it is incomplete, which was said.
  bool close() {
    FILE *const file = std::exchange(file_, nullptr);
    if (file == nullptr) return true;
    errno = 0;
    bool good = std::fflush(file) == 0 && std::ferror(file) == 0;
    const int why = errno;
    if (file != stdout && std::fclose(file) != 0) good = false;
    if (!good) {
      std::fprintf(stderr, "panda: plugin %s: %s is incomplete: %s\n", panda_plugin_name(detail::loading()),
                   path_.c_str(), std::strerror(why != 0 ? why : errno));
    }
    return good;
  }

 private:
  std::string path_;
  FILE *file_ = nullptr;
};

}  // namespace plugin_layer
}  // namespace panda

#endif
