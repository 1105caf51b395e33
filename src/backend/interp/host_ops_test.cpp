// The interpreter's vector and integer ops against the host instructions that they are named after.
#pragma GCC target("sse4.2,popcnt")
#include <gtest/gtest.h>
#include <nmmintrin.h>

#include <cstring>
#include <memory>
#include <random>

#include "backend/interp/interp_backend.h"
#include "exec/translation_unit.h"
#include "ir/builder.h"
#include "memory/vcpu_context.h"

namespace panda::interp {
namespace {

using ir::Op;
using ir::Type;
using V = __m128i;

struct alignas(64) Storage {
  VcpuContext context;
  alignas(16) uint8_t state[128] = {};
};

// Runs `op` on a, b and c.
class OpRunner {
 public:
  OpRunner(Op op, unsigned operands, uint64_t imm = 0, uint32_t aux = 0) {
    ir::Unit unit;
    unit.pc_offset = 96;
    ir::Builder b(unit);
    b.begin_block();
    const ir::Value v[3] = {b.get(Type::V128, 0), b.get(Type::V128, 16), b.get(Type::V128, 32)};
    const Type type = ir::info(op).result == ir::Sig::I32 ? Type::I32 : Type::V128;
    const ir::Value r = operands == 1   ? b.emit(op, type, {v[0]}, imm, aux)
                        : operands == 2 ? b.emit(op, type, {v[0], v[1]}, imm, aux)
                                        : b.emit(op, type, {v[0], v[1], v[2]}, imm, aux);
    b.set(48, r);
    b.exit_dispatch();
    EXPECT_TRUE(backend_.compile(unit, unit_));
  }
  V run(V a, V b, V c) {
    std::memcpy(storage_->state, &a, 16);
    std::memcpy(storage_->state + 16, &b, 16);
    std::memcpy(storage_->state + 32, &c, 16);
    std::memset(storage_->state + 48, 0, 16);
    backend_.run(storage_->context, unit_);
    V out;
    std::memcpy(&out, storage_->state + 48, 16);
    return out;
  }

 private:
  InterpBackend backend_;
  std::unique_ptr<Storage> storage_ = std::make_unique<Storage>();
  exec::TranslationUnit unit_;
};

class Operands {
 public:
  V next() {
    alignas(16) uint8_t bytes[16];
    static constexpr uint8_t kEdges[] = {0, 1, 0x7f, 0x80, 0xff, 0x10, 0x0f};
    const bool edges = random_() % 2 == 0;
    for (uint8_t& byte : bytes) byte = edges ? kEdges[random_() % 7] : static_cast<uint8_t>(random_());
    V v;
    std::memcpy(&v, bytes, 16);
    if (random_() % 4 == 0) v = _mm_set_epi64x(0, static_cast<int64_t>(random_() % 70));  // shift counts
    return v;
  }

 private:
  std::mt19937_64 random_{42};
};

void expect_same(V expected, V actual, Op op, uint64_t imm) {
  uint64_t e[2];
  uint64_t a[2];
  std::memcpy(e, &expected, 16);
  std::memcpy(a, &actual, 16);
  ASSERT_TRUE(e[0] == a[0] && e[1] == a[1]) << ir::info(op).name << " imm " << imm << std::hex << ": " << a[1] << ":"
                                            << a[0] << ", expected " << e[1] << ":" << e[0];
}

template <typename Host>
void compare(Op op, unsigned operands, uint64_t imm, uint32_t aux, Host host) {
  OpRunner runner(op, operands, imm, aux);
  Operands source;
  for (unsigned i = 0; i < 200; i++) {
    const V a = source.next();
    const V b = source.next();
    const V c = source.next();
    ASSERT_NO_FATAL_FAILURE(expect_same(host(a, b, c), runner.run(a, b, c), op, imm));
  }
}

#define HOST1(op, intrinsic) compare(Op::op, 1, 0, 0, [](V a, V, V) { return intrinsic(a); })
#define HOST2(op, intrinsic) compare(Op::op, 2, 0, 0, [](V a, V b, V) { return intrinsic(a, b); })
#define HOST1I(op, intrinsic, imm) compare(Op::op, 1, imm, 0, [](V a, V, V) { return intrinsic(a, imm); })
#define HOST2I(op, intrinsic, imm) compare(Op::op, 2, imm, 0, [](V a, V b, V) { return intrinsic(a, b, imm); })

TEST(HostOpsTest, Arithmetic) {
  HOST2(vand, _mm_and_si128);
  HOST2(vandn, _mm_andnot_si128);
  HOST2(vor, _mm_or_si128);
  HOST2(vxor, _mm_xor_si128);
  HOST2(vadd_i8, _mm_add_epi8);
  HOST2(vadd_i16, _mm_add_epi16);
  HOST2(vadd_i32, _mm_add_epi32);
  HOST2(vadd_i64, _mm_add_epi64);
  HOST2(vsub_i8, _mm_sub_epi8);
  HOST2(vsub_i16, _mm_sub_epi16);
  HOST2(vsub_i32, _mm_sub_epi32);
  HOST2(vsub_i64, _mm_sub_epi64);
  HOST2(vadds_s8, _mm_adds_epi8);
  HOST2(vadds_s16, _mm_adds_epi16);
  HOST2(vadds_u8, _mm_adds_epu8);
  HOST2(vadds_u16, _mm_adds_epu16);
  HOST2(vsubs_s8, _mm_subs_epi8);
  HOST2(vsubs_s16, _mm_subs_epi16);
  HOST2(vsubs_u8, _mm_subs_epu8);
  HOST2(vsubs_u16, _mm_subs_epu16);
  HOST2(vmullo_i16, _mm_mullo_epi16);
  HOST2(vmullo_i32, _mm_mullo_epi32);
  HOST2(vmulhi_s16, _mm_mulhi_epi16);
  HOST2(vmulhi_u16, _mm_mulhi_epu16);
  HOST2(vmulhrs_s16, _mm_mulhrs_epi16);
  HOST2(vmulwide_u32, _mm_mul_epu32);
  HOST2(vmulwide_s32, _mm_mul_epi32);
  HOST2(vmadd_s16, _mm_madd_epi16);
  HOST2(vmadd_u8s8, _mm_maddubs_epi16);
  HOST2(vavg_u8, _mm_avg_epu8);
  HOST2(vavg_u16, _mm_avg_epu16);
  HOST2(vsad_u8, _mm_sad_epu8);
  HOST2(vsign_s8, _mm_sign_epi8);
  HOST2(vsign_s16, _mm_sign_epi16);
  HOST2(vsign_s32, _mm_sign_epi32);
  HOST1(vabs_s8, _mm_abs_epi8);
  HOST1(vabs_s16, _mm_abs_epi16);
  HOST1(vabs_s32, _mm_abs_epi32);
  HOST2(vhadd_i16, _mm_hadd_epi16);
  HOST2(vhadd_i32, _mm_hadd_epi32);
  HOST2(vhadds_s16, _mm_hadds_epi16);
  HOST2(vhsub_i16, _mm_hsub_epi16);
  HOST2(vhsub_i32, _mm_hsub_epi32);
  HOST2(vhsubs_s16, _mm_hsubs_epi16);
  HOST1(vminpos_u16, _mm_minpos_epu16);
  HOST2I(vmpsadbw, _mm_mpsadbw_epu8, 0);
  HOST2I(vmpsadbw, _mm_mpsadbw_epu8, 5);
  HOST2I(vmpsadbw, _mm_mpsadbw_epu8, 7);
}

TEST(HostOpsTest, MinimaMaximaCompares) {
  HOST2(vmin_s8, _mm_min_epi8);
  HOST2(vmin_u8, _mm_min_epu8);
  HOST2(vmin_s16, _mm_min_epi16);
  HOST2(vmin_u16, _mm_min_epu16);
  HOST2(vmin_s32, _mm_min_epi32);
  HOST2(vmin_u32, _mm_min_epu32);
  HOST2(vmax_s8, _mm_max_epi8);
  HOST2(vmax_u8, _mm_max_epu8);
  HOST2(vmax_s16, _mm_max_epi16);
  HOST2(vmax_u16, _mm_max_epu16);
  HOST2(vmax_s32, _mm_max_epi32);
  HOST2(vmax_u32, _mm_max_epu32);
  HOST2(vcmpeq_i8, _mm_cmpeq_epi8);
  HOST2(vcmpeq_i16, _mm_cmpeq_epi16);
  HOST2(vcmpeq_i32, _mm_cmpeq_epi32);
  HOST2(vcmpeq_i64, _mm_cmpeq_epi64);
  HOST2(vcmpgt_s8, _mm_cmpgt_epi8);
  HOST2(vcmpgt_s16, _mm_cmpgt_epi16);
  HOST2(vcmpgt_s32, _mm_cmpgt_epi32);
  HOST2(vcmpgt_s64, _mm_cmpgt_epi64);
  compare(Op::vtest, 2, 0, 0, [](V a, V b, V) {
    return _mm_cvtsi32_si128((_mm_testz_si128(a, b) != 0 ? 0x40 : 0) | (_mm_testc_si128(a, b) != 0 ? 1 : 0));
  });
}

TEST(HostOpsTest, Shifts) {
  HOST2(vshl_i16, _mm_sll_epi16);
  HOST2(vshl_i32, _mm_sll_epi32);
  HOST2(vshl_i64, _mm_sll_epi64);
  HOST2(vshr_i16, _mm_srl_epi16);
  HOST2(vshr_i32, _mm_srl_epi32);
  HOST2(vshr_i64, _mm_srl_epi64);
  HOST2(vsar_i16, _mm_sra_epi16);
  HOST2(vsar_i32, _mm_sra_epi32);
  HOST1I(vshli_i16, _mm_slli_epi16, 5);
  HOST1I(vshli_i32, _mm_slli_epi32, 32);
  HOST1I(vshli_i64, _mm_slli_epi64, 63);
  HOST1I(vshri_i16, _mm_srli_epi16, 16);
  HOST1I(vshri_i32, _mm_srli_epi32, 31);
  HOST1I(vshri_i64, _mm_srli_epi64, 1);
  HOST1I(vsari_i16, _mm_srai_epi16, 200);
  HOST1I(vsari_i32, _mm_srai_epi32, 7);
  HOST1I(vshlbytes, _mm_slli_si128, 3);
  HOST1I(vshlbytes, _mm_slli_si128, 16);
  HOST1I(vshrbytes, _mm_srli_si128, 15);
  HOST1I(vshrbytes, _mm_srli_si128, 0);
}

V shufps(V a, V b, int) { return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x9c)); }
V shufpd(V a, V b, int) { return _mm_castpd_si128(_mm_shuffle_pd(_mm_castsi128_pd(a), _mm_castsi128_pd(b), 1)); }
V blendps(V a, V b, int) { return _mm_castps_si128(_mm_blend_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 5)); }
V blendpd(V a, V b, int) { return _mm_castpd_si128(_mm_blend_pd(_mm_castsi128_pd(a), _mm_castsi128_pd(b), 2)); }
V insertps(V a, V b, int) { return _mm_castps_si128(_mm_insert_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x98)); }

TEST(HostOpsTest, Lanes) {
  HOST2(vpack_s16_s8, _mm_packs_epi16);
  HOST2(vpack_s32_s16, _mm_packs_epi32);
  HOST2(vpack_s16_u8, _mm_packus_epi16);
  HOST2(vpack_s32_u16, _mm_packus_epi32);
  HOST2(vunpacklo_i8, _mm_unpacklo_epi8);
  HOST2(vunpacklo_i16, _mm_unpacklo_epi16);
  HOST2(vunpacklo_i32, _mm_unpacklo_epi32);
  HOST2(vunpacklo_i64, _mm_unpacklo_epi64);
  HOST2(vunpackhi_i8, _mm_unpackhi_epi8);
  HOST2(vunpackhi_i16, _mm_unpackhi_epi16);
  HOST2(vunpackhi_i32, _mm_unpackhi_epi32);
  HOST2(vunpackhi_i64, _mm_unpackhi_epi64);
  HOST2(vshuffle_i8, _mm_shuffle_epi8);
  HOST1I(vpshufd, _mm_shuffle_epi32, 0x1b);
  HOST1I(vpshuflw, _mm_shufflelo_epi16, 0x93);
  HOST1I(vpshufhw, _mm_shufflehi_epi16, 0x6c);
  HOST2I(vshufps, shufps, 0x9c);
  HOST2I(vshufpd, shufpd, 1);
  HOST2I(vpalignr, _mm_alignr_epi8, 5);
  HOST2I(vpalignr, _mm_alignr_epi8, 19);
  HOST2I(vpalignr, _mm_alignr_epi8, 40);
  HOST2I(vblend_i16, _mm_blend_epi16, 0xa6);
  HOST2I(vblendps, blendps, 5);
  HOST2I(vblendpd, blendpd, 2);
  HOST2I(vinsertps, insertps, 0x98);
  compare(Op::vblendv_i8, 3, 0, 0, [](V a, V b, V c) { return _mm_blendv_epi8(a, b, c); });
  compare(Op::vblendvps, 3, 0, 0, [](V a, V b, V c) {
    return _mm_castps_si128(_mm_blendv_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), _mm_castsi128_ps(c)));
  });
  compare(Op::vblendvpd, 3, 0, 0, [](V a, V b, V c) {
    return _mm_castpd_si128(_mm_blendv_pd(_mm_castsi128_pd(a), _mm_castsi128_pd(b), _mm_castsi128_pd(c)));
  });
  compare(Op::vmovmsk, 1, 0, 1, [](V a, V, V) { return _mm_cvtsi32_si128(_mm_movemask_epi8(a)); });
  compare(Op::vmovmsk, 1, 0, 4, [](V a, V, V) { return _mm_cvtsi32_si128(_mm_movemask_ps(_mm_castsi128_ps(a))); });
  compare(Op::vmovmsk, 1, 0, 8, [](V a, V, V) { return _mm_cvtsi32_si128(_mm_movemask_pd(_mm_castsi128_pd(a))); });
  HOST1(vsext_i8_i16, _mm_cvtepi8_epi16);
  HOST1(vsext_i8_i32, _mm_cvtepi8_epi32);
  HOST1(vsext_i8_i64, _mm_cvtepi8_epi64);
  HOST1(vsext_i16_i32, _mm_cvtepi16_epi32);
  HOST1(vsext_i16_i64, _mm_cvtepi16_epi64);
  HOST1(vsext_i32_i64, _mm_cvtepi32_epi64);
  HOST1(vzext_i8_i16, _mm_cvtepu8_epi16);
  HOST1(vzext_i8_i32, _mm_cvtepu8_epi32);
  HOST1(vzext_i8_i64, _mm_cvtepu8_epi64);
  HOST1(vzext_i16_i32, _mm_cvtepu16_epi32);
  HOST1(vzext_i16_i64, _mm_cvtepu16_epi64);
  HOST1(vzext_i32_i64, _mm_cvtepu32_epi64);
}

// crc32c of each width; lane 0 holds the CRC, lane 1 the data.
TEST(HostOpsTest, Crc32c) {
  InterpBackend backend;
  auto storage = std::make_unique<Storage>();
  std::mt19937_64 random(3);
  for (const Type type : {Type::I8, Type::I16, Type::I32, Type::I64}) {
    ir::Unit unit;
    unit.pc_offset = 96;
    ir::Builder b(unit);
    b.begin_block();
    b.set(8, b.emit(Op::crc32c, Type::I32, {b.get(Type::I32, 0), b.trunc(type, b.get(Type::I64, 16))}));
    b.exit_dispatch();
    exec::TranslationUnit compiled;
    ASSERT_TRUE(backend.compile(unit, compiled));
    for (unsigned i = 0; i < 100; i++) {
      const auto crc = static_cast<uint32_t>(random());
      const uint64_t data = random();
      std::memcpy(storage->state, &crc, 4);
      std::memcpy(storage->state + 16, &data, 8);
      backend.run(storage->context, compiled);
      uint32_t actual = 0;
      std::memcpy(&actual, storage->state + 8, 4);
      const uint32_t expected = type == Type::I8    ? _mm_crc32_u8(crc, static_cast<uint8_t>(data))
                                : type == Type::I16 ? _mm_crc32_u16(crc, static_cast<uint16_t>(data))
                                : type == Type::I32 ? _mm_crc32_u32(crc, static_cast<uint32_t>(data))
                                                    : static_cast<uint32_t>(_mm_crc32_u64(crc, data));
      ASSERT_EQ(actual, expected);
    }
  }
}

}  // namespace
}  // namespace panda::interp
