// Finds plugin files and opens them. Nothing of the plugin runs here but its constructors.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace panda::plugin {

struct SearchPaths {
  std::string arch;            // "x86_64"
  std::string executable_dir;  // of panda-system-ARCH; "": not known
  std::string library_dir;     // -L; "": none
};

// Where `name` is looked for, in this order: the folder of -L, $PANDA_PLUGIN_DIR, the build's or installation's
// lib/panda/ARCH beside the executable, the executable's own folder, $PANDA_DIR. What contains a '/'
// is a path and looked for nowhere else.
[[nodiscard]] std::vector<std::string> search_folders(const SearchPaths& paths);
[[nodiscard]] std::vector<std::string> candidates(const SearchPaths& paths, std::string_view name);
[[nodiscard]] Result<std::string> find_plugin(const SearchPaths& paths, std::string_view name);

// The plugins in a folder, sorted; none where there is no such folder.
[[nodiscard]] std::vector<std::string> plugin_files(const std::string& folder);

struct OpenedPlugin {
  void* handle = nullptr;
  bool (*init)(void*) = nullptr;
  void (*uninit)(void*) = nullptr;  // may be absent
};
[[nodiscard]] Result<OpenedPlugin> open_plugin(const std::string& path, std::string_view arch);
void close_plugin(void* handle);

}  // namespace panda::plugin
