// How often each byte value passes through each tap point, reads and writes apart. Also as a table (CSV)
// and as a picture (SVG): one row for each of the tap points with the most bytes, a column for each value.
#include <array>
#include <cmath>

#include "callstack_instr/taps.hpp"

namespace {

using callstack::Access;
using Histogram = std::array<uint32_t, 256>;
using Taps = callstack::TapMap<Histogram>;
using Rows = std::vector<const std::pair<const prog_point, Histogram>*>;

constexpr size_t kCell = 4;  // of the picture, in pixels
constexpr size_t kLabel = 420;

uint64_t total(const Histogram& histogram) {
  uint64_t sum = 0;
  for (const uint32_t n : histogram) sum += n;
  return sum;
}

// As unigram_hist.py reads it: packed records behind two sizes.
void write_report(panda::Output& out, const Rows& rows) {
  callstack::write_word_size(out);
  const uint32_t kind_size = sizeof(uint32_t);
  out.write(&kind_size, sizeof kind_size);
  for (const auto* row : rows) {
    const prog_point& p = row->first;
    const auto kind = static_cast<uint32_t>(p.stackKind);
    const target_ulong words[4] = {p.caller, p.pc, p.sidFirst, p.sidSecond};
    const uint8_t kernel = p.isKernelMode;
    out.write(&kind, sizeof kind);
    out.write(words, sizeof words);
    out.write(&kernel, sizeof kernel);
    out.write(row->second.data(), sizeof row->second);
  }
}

void write_csv(panda::Output& out, const char* direction, const Rows& rows) {
  for (const auto* row : rows) {
    const prog_point& p = row->first;
    out.print("%s,0x" TARGET_FMT_lx ",0x" TARGET_FMT_lx ",0x" TARGET_FMT_lx ",0x" TARGET_FMT_lx ",%d,%" PRIu64,
              direction, p.caller, p.pc, p.sidFirst, p.sidSecond, p.isKernelMode ? 1 : 0, total(row->second));
    for (const uint32_t n : row->second) out.print(",%" PRIu32, n);
    out.print("\n");
  }
}

void write_svg(panda::Output& out, const Rows& rows) {
  out.print(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" font-family=\"monospace\" "
      "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      kLabel + 256 * kCell + 10, (rows.size() + 2) * 4 * kCell);
  size_t y = 4 * kCell;
  for (unsigned value = 0; value < 256; value += 32) {
    out.print("<text x=\"%zu\" y=\"%zu\">%02x</text>\n", kLabel + value * kCell, y - 4, value);
  }
  for (const auto* row : rows) {
    const prog_point& p = row->first;
    out.print("<text x=\"4\" y=\"%zu\">" TARGET_FMT_lx " from " TARGET_FMT_lx "  %" PRIu64 "</text>\n", y + 3 * kCell,
              p.pc, p.caller, total(row->second));
    const uint32_t most = *std::max_element(row->second.begin(), row->second.end());
    for (size_t value = 0; value < 256; value++) {
      const uint32_t n = row->second[value];
      if (n == 0) continue;
      const double darkness = std::log1p(n) / std::log1p(most);
      out.print(
          "<rect x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%zu\" fill=\"hsl(220,80%%,%d%%)\"><title>0x%02zx: "
          "%" PRIu32 "</title></rect>\n",
          kLabel + value * kCell, y, kCell, 3 * kCell, 85 - static_cast<int>(60 * darkness), value, n);
    }
    y += 4 * kCell;
  }
  out.print("</svg>\n");
}

class Unigrams : public callstack::TapPlugin {
 public:
  Unigrams() {
    panda::Arguments args = arguments();
    const std::string csv = args.text("csv", "", "also write all histograms as CSV");
    const std::string svg = args.text("svg", "", "also draw the histograms of the tap points with the most bytes");
    pictured_ = args.number<uint32_t>("svg_taps", 64, "how many tap points to draw");
    args.done();
    read_report_ = panda::Output("unigram_mem_read_report.bin");
    write_report_ = panda::Output("unigram_mem_write_report.bin");
    csv_ = panda::Output(csv);
    svg_ = panda::Output(svg);
    on_read([this](CPUState* cpu, const Access& access) { count(reads_[tap(cpu, access)], access); });
    on_write([this](CPUState* cpu, const Access& access) { count(writes_[tap(cpu, access)], access); });
  }
  ~Unigrams() override {
    const Rows reads = reads_.sorted();
    const Rows writes = writes_.sorted();
    write_report(read_report_, reads);
    write_report(write_report_, writes);
    if (csv_) {
      csv_.print("access,caller,pc,sid first,sid second,in kernel,bytes");
      for (unsigned value = 0; value < 256; value++) csv_.print(",%02x", value);
      csv_.print("\n");
      write_csv(csv_, "read", reads);
      write_csv(csv_, "write", writes);
    }
    if (svg_) {
      Rows largest = reads;
      largest.insert(largest.end(), writes.begin(), writes.end());
      std::stable_sort(largest.begin(), largest.end(),
                       [](const auto* a, const auto* b) { return total(a->second) > total(b->second); });
      largest.resize(std::min<size_t>(largest.size(), pictured_));
      write_svg(svg_, largest);
    }
  }

 private:
  static void count(Histogram& histogram, const Access& access) {
    for (size_t i = 0; i < access.size; i++) histogram[access.data[i]]++;
  }

  panda::Output read_report_, write_report_, csv_, svg_;
  uint32_t pictured_ = 0;
  Taps reads_, writes_;
};

}  // namespace

PANDA_PLUGIN(Unigrams)
