// What is found in headers of the kinds that plugins have, and what is refused.
#include <gtest/gtest.h>

#include "apigen/generate.h"

namespace panda::apigen {
namespace {

std::string shown(const std::string& text) {
  const auto d = parse(text);
  if (!d) return "error: " + d.error().message;
  std::string out;
  for (const Item& i : d->items) {
    if (!i.directive.empty()) {
      out += "#" + i.directive + "\n";
      continue;
    }
    out += i.function.result + "|" + i.function.name + "|";
    for (const Parameter& p : i.function.parameters) out += p.declaration + "=" + p.name + ";";
    out += "\n";
  }
  return out;
}

TEST(Apigen, FindsPrototypes) {
  EXPECT_EQ(shown("uint32_t get_callers(target_ulong *callers, uint32_t n, CPUState *cpu);"),
            "uint32_t|get_callers|target_ulong *callers=callers;uint32_t n=n;CPUState *cpu=cpu;\n");
  EXPECT_EQ(shown("void f(void); const char *g();"), "void|f|\nconst char *|g|\n");
  EXPECT_EQ(shown("struct symbol s(unsigned long long x, const struct a *b, char c[4]);"),
            "struct symbol|s|unsigned long long x=x;const struct a *b=b;char c[4]=c;\n");
}

TEST(Apigen, NamesWhatHasNoName) {
  EXPECT_EQ(shown("int f(int, const Foo, struct bar, Foo *, char [3], unsigned long, void (*)(int), Foo);"),
            "int|f|int arg1=arg1;const Foo arg2=arg2;struct bar arg3=arg3;Foo *arg4=arg4;char arg5[3]=arg5;"
            "unsigned long arg6=arg6;void(*arg7)(int)=arg7;Foo arg8=arg8;\n");
  EXPECT_EQ(shown("void f(void (*done)(int, char *), int (*rows)[4]);"),
            "void|f|void(*done)(int, char *)=done;int(*rows)[4]=rows;\n");
}

TEST(Apigen, PassesOverWhatIsNoPrototype) {
  EXPECT_EQ(shown("#ifndef X_H\n#define X_H\n#include \"a.h\"\n// int no(void);\n/* int no2(void);\n */\n"
                  "typedef int (*cb_t)(int);\ntypedef struct { int (*f)(void); } s_t;\nstruct s { int a; };\n"
                  "enum { A, B };\nstatic inline int twice(int x) { return 2 * x; }\nextern int variable;\nextern void "
                  "(*pointer)(int);\n"
                  "#define MACRO(x) int x(void);\nextern \"C\" {\nint yes(void);\n}\n"
                  "extern int yes_too(int a) __attribute__((format(printf, 1, 2)));\n#endif\n"),
            "int|yes|\nint|yes_too|int a=a;\n");
}

TEST(Apigen, KeepsConditions) {
  EXPECT_EQ(shown("#ifndef G\n#define G\n#ifdef TARGET_X86_64\nint a(void);\n#else\nint b(void);\n#endif\n#endif"),
            "#ifdef TARGET_X86_64\nint|a|\n#else\nint|b|\n#endif\n");
}

TEST(Apigen, SaysWhatItCannotForward) {
  EXPECT_EQ(shown("int ok(void);\nvoid log(const char *fmt, ...);"),
            "error: line 2: log takes '...', which cannot be passed on: give it a va_list");
  EXPECT_NE(shown("void (*get(int x))(int);").find("error: line 1: "), std::string::npos);
  EXPECT_EQ(shown("int f(int a,);"), "error: line 1: f: a parameter is missing");
  EXPECT_EQ(shown("/* int f(int a,"), "error: line 1: a comment does not end");
  EXPECT_EQ(shown("int f(int a"), "error: its brackets do not match");
}

TEST(Apigen, IncludesTheTypesOrRepeatsThePrototypes) {
  const auto d = parse("#include <stdint.h>\nuint32_t f(Panda__Thing *x);");
  ASSERT_TRUE(d.has_value());
  const std::string fns = generate("thing", "thing/thing_int_fns.h", *d);
  EXPECT_NE(fns.find("#include \"thing/thing_int_fns.h\"\n"), std::string::npos);
  EXPECT_NE(fns.find("#include \"panda/plog.h\"\n"), std::string::npos);
  EXPECT_EQ(fns.find("uint32_t f(Panda__Thing *x);\n"), std::string::npos);
  const std::string alone = generate("thing", "", *d);
  EXPECT_NE(alone.find("#include <stdint.h>\n"), std::string::npos);
  EXPECT_NE(alone.find("uint32_t f(Panda__Thing *x);\n"), std::string::npos);
}

}  // namespace
}  // namespace panda::apigen
