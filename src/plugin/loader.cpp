#include "plugin/loader.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "panda/plugin_version.h"
#include "plugin/arguments.h"

namespace panda::plugin {

namespace fs = std::filesystem;

std::vector<std::string> search_folders(const SearchPaths& paths) {
  std::vector<std::string> out;
  const auto in = [&](const fs::path& folder) { out.push_back(folder.lexically_normal().string()); };
  if (!paths.library_dir.empty()) {
    in(fs::path(paths.library_dir) / "panda" / paths.arch);
    in(fs::path(paths.library_dir) / paths.arch);
    in(paths.library_dir);
  }
  if (const char* dir = std::getenv("PANDA_PLUGIN_DIR"); dir != nullptr && *dir != '\0') {
    in(fs::path(dir) / paths.arch);
    in(dir);
  }
  if (!paths.executable_dir.empty()) {
    const fs::path exe = paths.executable_dir;
    in(exe / ".." / "lib" / "panda" / paths.arch);
    in(exe / "panda_plugins");
    in(exe);
  }
  if (const char* dir = std::getenv("PANDA_DIR"); dir != nullptr && *dir != '\0') {
    in(fs::path(dir) / "lib" / "panda" / paths.arch);
    in(fs::path(dir) / (paths.arch + "-softmmu") / "panda" / "plugins");
    in(dir);
  }
  return out;
}

std::vector<std::string> candidates(const SearchPaths& paths, std::string_view name) {
  if (name.find('/') != std::string_view::npos) return {std::string(name)};
  const std::string file = "panda_" + plugin_name_of(name) + ".so";
  std::vector<std::string> out = search_folders(paths);
  for (std::string& folder : out) folder = (fs::path(folder) / file).string();
  return out;
}

std::vector<std::string> plugin_files(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    if (file.starts_with("panda_") && file.ends_with(".so")) out.push_back(it->path().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::string> find_plugin(const SearchPaths& paths, std::string_view name) {
  const std::vector<std::string> places = candidates(paths, name);
  for (const std::string& place : places) {
    std::error_code ignored;
    if (fs::is_regular_file(place, ignored)) return place;
  }
  if (name.find('/') != std::string_view::npos) return fail("plugin {}: no such file", name);
  std::string looked;
  for (const std::string& place : places) looked += (looked.empty() ? "" : ", ") + place;
  return fail("plugin {}: not found (looked for {})", name, looked);
}

Result<OpenedPlugin> open_plugin(const std::string& path, std::string_view arch) {
  const std::string name = plugin_name_of(path);
  // dlopen searches its own path for a name without a slash.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  if (::access(file.c_str(), R_OK) != 0) return fail("plugin {}: {}: {}", name, path, std::strerror(errno));
  void* const handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return fail("plugin {}: cannot be loaded: {}", name, why != nullptr ? why : path);
  }
  const auto refuse = [&](std::string message) -> Result<OpenedPlugin> {
    dlclose(handle);
    return tl::unexpected<Error>(Error{std::move(message)});
  };
  const auto symbol = [&](const char* s) { return dlsym(handle, s); };
  if (void* target = symbol("panda_plugin_target"); target != nullptr) {
    const char* made_for = reinterpret_cast<const char* (*)()>(target)();
    if (arch != made_for)
      return refuse(fmt::format("plugin {}: {} was built for {}, this is {}", name, path, made_for, arch));
  }
  if (void* version = symbol("panda_plugin_api_version"); version != nullptr) {
    const int v = reinterpret_cast<int (*)()>(version)();
    if (v != PANDA_API_VERSION) {
      return refuse(fmt::format("plugin {}: {} was built for version {} of the plugin API, this is {}: build it again",
                                name, path, v, PANDA_API_VERSION));
    }
  }
  OpenedPlugin opened;
  opened.handle = handle;
  opened.init = reinterpret_cast<bool (*)(void*)>(symbol("init_plugin"));
  opened.uninit = reinterpret_cast<void (*)(void*)>(symbol("uninit_plugin"));
  if (opened.init == nullptr) {
    return refuse(
        fmt::format("plugin {}: {} has no function init_plugin (in C++ it must be extern \"C\")", name, path));
  }
  return opened;
}

void close_plugin(void* handle) {
  if (handle != nullptr) dlclose(handle);
}

}  // namespace panda::plugin
