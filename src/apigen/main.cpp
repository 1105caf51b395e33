// panda-apigen NAME HEADER OUTPUT: makes NAME_ext.h, by which other plugins call NAME's functions, from
// the prototypes in its NAME_int_fns.h (or, where it has none, NAME_int.h).
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "apigen/generate.h"

namespace {

panda::Status run(const std::string& plugin, const std::string& header, const std::string& output) {
  std::ifstream in(header, std::ios::binary);
  if (!in) return panda::fail("{}: cannot be read", header);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  auto declarations = panda::apigen::parse(text);
  if (!declarations) return panda::fail("{}: {}", header, declarations.error().message);
  const std::string file = std::filesystem::path(header).filename().string();
  const bool includable = file != plugin + "_int.h";
  std::ofstream out(output, std::ios::binary | std::ios::trunc);
  out << panda::apigen::generate(plugin, includable ? plugin + "/" + file : "", *declarations);
  out.close();
  if (!out) return panda::fail("{}: cannot be written", output);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: panda-apigen NAME NAME_int_fns.h OUTPUT\n", stderr);
    return 2;
  }
  if (const auto done = run(argv[1], argv[2], argv[3]); !done) {
    std::fprintf(stderr, "panda-apigen: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}
