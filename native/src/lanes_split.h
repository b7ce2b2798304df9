// Sixteen lanes as several vectors, for CPUs whose registers are narrower: the compiler takes comparisons and shuffles of
// vectors that are wider than a register apart lane by lane.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace farthing::FT_ISA {

#if defined(__AVX2__)
constexpr int kPartLanes = 8;
#else
constexpr int kPartLanes = 4;
#endif
constexpr int kParts = kLanes / kPartLanes;
using EachPart = std::make_integer_sequence<int, kParts>;
using EachPartLane = std::make_integer_sequence<int, kPartLanes>;

// T has four bytes. Operators are those of vectors, each for two of Split or for one and a scalar; a comparison gives all bits
// or none in each lane, and a cast to another Split keeps the bits.
template <class T>
struct Split {
    typedef T Part __attribute__((vector_size(kPartLanes * sizeof(T))));
    Part part[kParts];

    T operator[](int lane) const { return part[lane / kPartLanes][lane % kPartLanes]; }

    template <class U>
    FT_INLINE explicit operator Split<U>() const {
        using To = typename Split<U>::Part;
        return Split<U>::of_parts([this](int i) { return (To)part[i]; });
    }

    // make(index of a part) -> the part.
    template <class Make>
    FT_INLINE static Split of_parts(Make make) {
        return of_parts(make, EachPart{});
    }

#define FT_OPERATOR(op)                                                              \
    friend FT_INLINE Split operator op(Split a, Split b) {                           \
        return of_parts([&](int i) { return a.part[i] op b.part[i]; });              \
    }                                                                                \
    friend FT_INLINE Split operator op(Split a, T b) {                               \
        return of_parts([&](int i) { return a.part[i] op b; });                      \
    }                                                                                \
    friend FT_INLINE Split operator op(T a, Split b) {                               \
        return of_parts([&](int i) { return a op b.part[i]; });                      \
    }                                                                                \
    friend FT_INLINE Split& operator op##=(Split& a, Split b) { return a = a op b; } \
    friend FT_INLINE Split& operator op##=(Split& a, T b) { return a = a op b; }
    FT_OPERATOR(+)
    FT_OPERATOR(-)
    FT_OPERATOR(*)
    FT_OPERATOR(/)
    FT_OPERATOR(&)
    FT_OPERATOR(|)
    FT_OPERATOR(^)
    FT_OPERATOR(<<)
    FT_OPERATOR(>>)
#undef FT_OPERATOR

    FT_INLINE Split operator-() const {
        return of_parts([this](int i) { return -part[i]; });
    }
    FT_INLINE Split operator~() const {
        return of_parts([this](int i) { return ~part[i]; });
    }

#define FT_COMPARISON(op)                                                                                  \
    friend FT_INLINE Split<int32_t> operator op(Split a, Split b) {                                        \
        return Split<int32_t>::of_parts([&](int i) { return (IntPart)(a.part[i] op b.part[i]); });         \
    }                                                                                                      \
    friend FT_INLINE Split<int32_t> operator op(Split a, T b) {                                            \
        return Split<int32_t>::of_parts([&](int i) { return (IntPart)(a.part[i] op (b - Part{})); });      \
    }
    FT_COMPARISON(<)
    FT_COMPARISON(>)
    FT_COMPARISON(<=)
    FT_COMPARISON(>=)
    FT_COMPARISON(==)
    FT_COMPARISON(!=)
#undef FT_COMPARISON

private:
    typedef int32_t IntPart __attribute__((vector_size(kPartLanes * sizeof(int32_t))));

    template <class Make, int... kPart>
    FT_INLINE static Split of_parts(Make make, std::integer_sequence<int, kPart...>) {
        return {{make(kPart)...}};
    }
};

using Floats = Split<float>;
using Words = Split<uint32_t>;
using Ints = Split<int32_t>;

// Part by part: what is copied whole goes through memory.
template <class Vector, class T>
FT_INLINE Vector load(const T* from) {
    return Vector::of_parts([from](int i) {
        typename Vector::Part part;
        std::memcpy(&part, reinterpret_cast<const char*>(from) + i * sizeof part, sizeof part);
        return part;
    });
}

template <class T, class U>
FT_INLINE void store(T* to, Split<U> value) {
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i)
        std::memcpy(reinterpret_cast<char*>(to) + i * sizeof value.part[i], &value.part[i], sizeof value.part[i]);
}

template <class T>
FT_INLINE Split<T> select(Ints mask, Split<T> a, Split<T> b) {
    return Split<T>::of_parts([&](int i) { return mask.part[i] ? a.part[i] : b.part[i]; });
}

// The second one where a lane of the first has a NaN, which is what the instructions of both x86 and ARM do; no caller has one
// in the second.
FT_INLINE Floats larger(Floats a, Floats b) {
#if defined(__AVX2__)
    return Floats::of_parts([&](int i) { return (Floats::Part)_mm256_max_ps((__m256)a.part[i], (__m256)b.part[i]); });
#elif defined(__SSE2__)
    return Floats::of_parts([&](int i) { return (Floats::Part)_mm_max_ps((__m128)a.part[i], (__m128)b.part[i]); });
#elif defined(__ARM_NEON)
    return Floats::of_parts([&](int i) { return (Floats::Part)vmaxnmq_f32((float32x4_t)a.part[i], (float32x4_t)b.part[i]); });
#else
    return select(a > b, a, b);
#endif
}
FT_INLINE Floats smaller(Floats a, Floats b) {
#if defined(__AVX2__)
    return Floats::of_parts([&](int i) { return (Floats::Part)_mm256_min_ps((__m256)a.part[i], (__m256)b.part[i]); });
#elif defined(__SSE2__)
    return Floats::of_parts([&](int i) { return (Floats::Part)_mm_min_ps((__m128)a.part[i], (__m128)b.part[i]); });
#elif defined(__ARM_NEON)
    return Floats::of_parts([&](int i) { return (Floats::Part)vminnmq_f32((float32x4_t)a.part[i], (float32x4_t)b.part[i]); });
#else
    return select(a < b, a, b);
#endif
}

FT_INLINE Ints larger(Ints a, Ints b) {
#if defined(__AVX2__)
    return Ints::of_parts([&](int i) { return (Ints::Part)_mm256_max_epi32((__m256i)a.part[i], (__m256i)b.part[i]); });
#elif defined(__ARM_NEON)
    return Ints::of_parts([&](int i) { return (Ints::Part)vmaxq_s32((int32x4_t)a.part[i], (int32x4_t)b.part[i]); });
#else
    return select(a > b, a, b);
#endif
}

#if defined(__aarch64__)
FT_INLINE int32_t largest_of(Ints x) {
    const int32x4_t left = vmaxq_s32((int32x4_t)x.part[0], (int32x4_t)x.part[1]);
    return vmaxvq_s32(vmaxq_s32(left, vmaxq_s32((int32x4_t)x.part[2], (int32x4_t)x.part[3])));
}
#endif

template <class To, class T>
FT_INLINE To converted(Split<T> from) {
    return To::of_parts([&](int i) { return __builtin_convertvector(from.part[i], typename To::Part); });
}

// Each lane its 8 or 16 bits.
template <class Narrow>
FT_INLINE Words widened(const Narrow* from) {
#if defined(__ARM_NEON)  // GCC 12 would convert four of 16 bits one by one
    if constexpr (sizeof(Narrow) == 2)
        return Words::of_parts([from](int i) { return (Words::Part)vmovl_u16(vld1_u16(from + i * kPartLanes)); });
#endif
    typedef Narrow NarrowPart __attribute__((vector_size(kPartLanes * sizeof(Narrow))));
    return Words::of_parts([from](int i) {
        NarrowPart part;
        std::memcpy(&part, from + i * kPartLanes, sizeof part);
        return __builtin_convertvector(part, Words::Part);
    });
}

#if defined(__ARM_NEON)
// The lower halves of the lanes of two parts.
FT_INLINE uint16x8_t low_shorts(Words x, int first) {
    return vuzp1q_u16((uint16x8_t)x.part[first], (uint16x8_t)x.part[first + 1]);
}
// Those of all lanes, of 8 bits.
FT_INLINE uint8x16_t low_bytes(Words x) {
    return vuzp1q_u8(vreinterpretq_u8_u16(low_shorts(x, 0)), vreinterpretq_u8_u16(low_shorts(x, 2)));
}
#endif

// The low 16 bits of each lane.
FT_INLINE void store_shorts(uint16_t* to, Words x) {
#if defined(__AVX2__)
    x = x & 0xffffu;
    const __m256i crossed = _mm256_packus_epi32((__m256i)x.part[0], (__m256i)x.part[1]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(crossed, 0b11011000));
#elif defined(__SSE2__)
    const Ints y = (Ints)(x << 16) >> 16;
    for (int i = 0; i < kParts; i += 2)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * kPartLanes),
                         _mm_packs_epi32((__m128i)y.part[i], (__m128i)y.part[i + 1]));
#elif defined(__ARM_NEON)
    for (int i = 0; i < kParts; i += 2) vst1q_u16(to + i * kPartLanes, low_shorts(x, i));
#else
    typedef uint16_t Narrow __attribute__((vector_size(kPartLanes * sizeof(uint16_t))));
    for (int i = 0; i < kParts; ++i) {
        const Narrow part = __builtin_convertvector(x.part[i], Narrow);
        std::memcpy(to + i * kPartLanes, &part, sizeof part);
    }
#endif
}

// The low 8 bits of each lane.
FT_INLINE void store_bytes(uint8_t* to, Words x) {
#if defined(__AVX2__)
    x = x & 0xffu;
    const __m256i shorts = _mm256_packus_epi32((__m256i)x.part[0], (__m256i)x.part[1]);
    const __m256i bytes = _mm256_packus_epi16(shorts, shorts);  // four at a time: 0, 8; 4, 12
    const __m256i ordered = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(ordered));
#elif defined(__ARM_NEON)
    vst1q_u8(to, low_bytes(x));
#else
    typedef uint8_t Narrow __attribute__((vector_size(kPartLanes)));
    for (int i = 0; i < kParts; ++i) {
        const Narrow part = __builtin_convertvector(x.part[i], Narrow);
        std::memcpy(to + i * kPartLanes, &part, sizeof part);
    }
#endif
}

// Lanes of a part of a shuffle's result come from at most two parts of what is shuffled.
template <class From, int kPart>
struct PartShuffle {
    static constexpr int source(int lane) { return From::of(kPart * kPartLanes + lane); }
    static constexpr int first() { return source(0) / kPartLanes; }
    static constexpr int second() {
        int found = first();
        for (int lane = 0; lane < kPartLanes; ++lane)
            if (source(lane) / kPartLanes != first()) found = source(lane) / kPartLanes;
        return found;
    }
    static constexpr int of(int lane) {
        return source(lane) % kPartLanes + (source(lane) / kPartLanes == first() ? 0 : kPartLanes);
    }
    static constexpr bool takes_two_at_most() {
        for (int lane = 0; lane < kPartLanes; ++lane)
            if (source(lane) / kPartLanes != first() && source(lane) / kPartLanes != second()) return false;
        return true;
    }
};

template <class Shuffle, class Part, int... kLane>
FT_INLINE Part shuffled_part(Part a, Part b, std::integer_sequence<int, kLane...>) {
    return __builtin_shufflevector(a, b, Shuffle::of(kLane)...);
}

template <class From, class T, int... kPart>
FT_INLINE Split<T> shuffled(Split<T> a, Split<T> b, std::integer_sequence<int, kPart...>) {
    static_assert((PartShuffle<From, kPart>::takes_two_at_most() && ...));
    const auto part = [&](int index) { return index < kParts ? a.part[index] : b.part[index - kParts]; };
    return {{shuffled_part<PartShuffle<From, kPart>>(part(PartShuffle<From, kPart>::first()),
                                                     part(PartShuffle<From, kPart>::second()), EachPartLane{})...}};
}

// Lane i of the result is lane From::of(i) of `a`, or of `b` from kLanes on.
template <class From, class T>
FT_INLINE Split<T> shuffled(Split<T> a, Split<T> b) {
    return shuffled<From>(a, b, EachPart{});
}

}  // namespace farthing::FT_ISA
