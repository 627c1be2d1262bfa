#include "simd/cpu.hpp"

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace nestling::simd {
namespace {

#if defined(__x86_64__)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

bool has(unsigned value, unsigned bit) {
  return (value >> bit & 1U) != 0;
}

// The register states that the operating system saves, which CPUID does not report (Intel SDM
// 13.1).
unsigned saved_states() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

void add_tables(std::vector<const Kernels*>& tables) {
  const Registers one = cpuid(1), seven = cpuid(7);
  if (!has(one.c, 27)) return;  // OSXSAVE: XGETBV may be executed
  const unsigned saved = saved_states();
  constexpr unsigned kYmm = 0x6, kZmm = 0xe6;
  const bool fma = has(one.c, 12), f16c = has(one.c, 29), avx2 = has(seven.b, 5);
  if ((saved & kYmm) != kYmm || !fma || !f16c || !avx2) return;
  tables.push_back(&kAvx2);
  if (has(cpuid(7, 1).a, 4)) tables.push_back(&kAvx2Vnni);
  const bool avx512f = has(seven.b, 16), avx512bw = has(seven.b, 30), vnni = has(seven.c, 11);
  if ((saved & kZmm) == kZmm && avx512f && avx512bw && vnni) tables.push_back(&kAvx512Vnni);
}

#elif defined(__aarch64__)

void add_tables(std::vector<const Kernels*>& tables) {
#if defined(__linux__)
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) == 0) return;
#endif
  tables.push_back(&kNeonDot);  // every Apple CPU for macOS has it
}

#else

void add_tables(std::vector<const Kernels*>&) {}

#endif

std::vector<const Kernels*> find_tables() {
  std::vector<const Kernels*> tables{&kScalar};
  add_tables(tables);
  return tables;
}

const Kernels& choose() {
  const char* setting = std::getenv("NESTLING_ISA");
  if (setting == nullptr || *setting == '\0') return *available().back();
  std::string names;
  for (const Kernels* table : available()) {
    if (std::string(setting) == table->name) return *table;
    names += names.empty() ? table->name : std::string(", ") + table->name;
  }
  throw SettingError("NESTLING_ISA=" + std::string(setting) +
                     " is not available on this CPU; set it to one of: " + names);
}

}  // namespace

std::span<const Kernels* const> available() {
  static const std::vector<const Kernels*> tables = find_tables();
  return tables;
}

const Kernels& active() {
  static const Kernels& table = choose();
  return table;
}

}  // namespace nestling::simd
