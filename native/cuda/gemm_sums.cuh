// The sums that a block of a matrix product (gemm.cuh) keeps in registers: by fused multiply-adds, or on tensor cores.
// Both add the product of one stage after the other, and store the tile of C at the end.
#pragma once

#include "gemm_stages.cuh"
#include "tensor_core.cuh"
#include "vector_access.cuh"

namespace stepsize::cuda {

// The sums of a product in float32, by fused multiply-adds: tensor cores have no operation of this precision. Each
// thread has 4 × 8 sums of its warp's part of the tile of C. That is 32 multiply-adds for 12 numbers from shared
// memory, which the lanes of a row or column share.
template <class A, class B, class Tile>
struct FmaSums {
  static constexpr int kLanesA = 8, kLanesB = 4;  // lanes of a warp along the rows and columns of C
  static constexpr int kSumsA = Tile::kLinesA / kLanesA, kSumsB = Tile::kLinesB / kLanesB;
  // A long sum in one accumulator would lose low digits. After this many stages, the sums are added to the totals.
  static constexpr int kStagesTogether = 16;
  using TileA = StageTile<A, Tile::kRows>;
  using TileB = StageTile<B, Tile::kColumns>;
  float totals[kSumsA][kSumsB] = {}, sums[kSumsA][kSumsB] = {};
  int stages = 0;
  int lineA, lineB;  // the first lines of the warp

  __device__ FmaSums(int firstLineA, int firstLineB) : lineA(firstLineA), lineB(firstLineB) {}

  // The i-th line of a lane. If lines are neighbours in memory, a lane has chunks of lines, so that the lanes read
  // adjacent chunks.
  template <class Operand, int Lanes>
  __device__ static int line(int lane, int i) {
    return Operand::kAlongLines ? i / 4 * 4 * Lanes + lane * 4 + i % 4 : i * Lanes + lane;
  }
  __device__ static int rowOf(int i) { return line<A, kLanesA>(static_cast<int>(threadIdx.x) % 32 / kLanesB, i); }
  __device__ static int columnOf(int j) { return line<B, kLanesB>(static_cast<int>(threadIdx.x) % kLanesB, j); }

  // Adds the product of a stage. Each sum adds its depths in order.
  __device__ void multiply(const TileA& a, const TileB& b) {
    // The loop takes two depths at a time and is not unrolled. Otherwise ptxas keeps more addresses and numbers than
    // there are registers.
#pragma unroll 1
    for (int k = 0; k < kStageDepth<float>; k += 2) {
      float ofA[kSumsA][2];
      loadPairs(a, k, ofA);
      if constexpr (B::kAlongLines) {
#pragma unroll
        for (int d = 0; d < 2; d++)
#pragma unroll
          for (int j = 0; j < kSumsB; j += 4) {
            float ofB[4];
            loadAligned(b.chunk(lineB + columnOf(j), k + d), ofB);
#pragma unroll
            for (int i = 0; i < kSumsA; i++)
#pragma unroll
              for (int e = 0; e < 4; e++) sums[i][j + e] = fmaf(ofA[i][d], ofB[e], sums[i][j + e]);
          }
      } else {
#pragma unroll
        for (int j = 0; j < kSumsB; j++) {
          const float2 ofB = *reinterpret_cast<const float2*>(b.chunk(lineB + columnOf(j), k) + k % 4);
#pragma unroll
          for (int i = 0; i < kSumsA; i++) {
            sums[i][j] = fmaf(ofA[i][0], ofB.x, sums[i][j]);
            sums[i][j] = fmaf(ofA[i][1], ofB.y, sums[i][j]);
          }
        }
      }
    }
    if (++stages % kStagesTogether == 0) flush();
  }

  // Loads two depths of the thread's lines of A.
  __device__ void loadPairs(const TileA& a, int k, float (&x)[kSumsA][2]) const {
    if constexpr (A::kAlongLines) {
#pragma unroll
      for (int d = 0; d < 2; d++)
#pragma unroll
        for (int i = 0; i < kSumsA; i += 4) {
          float lines[4];
          loadAligned(a.chunk(lineA + rowOf(i), k + d), lines);
#pragma unroll
          for (int e = 0; e < 4; e++) x[i + e][d] = lines[e];
        }
    } else {
#pragma unroll
      for (int i = 0; i < kSumsA; i++) {
        const float2 pair = *reinterpret_cast<const float2*>(a.chunk(lineA + rowOf(i), k) + k % 4);
        x[i][0] = pair.x;
        x[i][1] = pair.y;
      }
    }
  }

  // Adds the sums to the totals and resets them to 0.
  __device__ void flush() {
#pragma unroll
    for (int i = 0; i < kSumsA; i++)
#pragma unroll
      for (int j = 0; j < kSumsB; j++) {
        totals[i][j] += sums[i][j];
        sums[i][j] = 0;
      }
  }

  // Stores the totals at the addresses at(row, column).
  template <class At>
  __device__ void store(const At& at) {
    flush();
#pragma unroll
    for (int i = 0; i < kSumsA; i++)
#pragma unroll
      for (int j = 0; j < kSumsB; j++) *at(lineA + rowOf(i), lineB + columnOf(j)) = totals[i][j];
  }
};

// The depths of an mma: two chunks, 16 elements of bfloat16 or eight of float32.
template <class Element>
constexpr int kMmaDepth = 2 * kChunk<Element>;

// The places in a stage from which a warp loads its fragments of an operand. Chunks are permuted, so an address is not
// the sum of a part per line and a part per depth. A lane keeps as few offsets as there are combinations, and adds
// constants to them: two if depths are neighbours, one for each 16 lines otherwise. LinesFirst is the order of the
// blocks of a fragment, see loadFragments.
//
// loadMatrices transposes elements of 16 bits only. If lines of float32 are neighbours, a lane loads its four elements
// one by one.
template <class Tile, int Fragments, bool LinesFirst>
class FragmentPlaces {
  using Element = typename Tile::Element;
  static constexpr bool kAlongLines = Tile::kAlongLines, kOneByOne = kAlongLines && !isBFloat16<Element>;
  static constexpr int kOffsets = kAlongLines ? Fragments : kStageDepth<Element> / kMmaDepth<Element>;
  int offsets[kOffsets];  // in bytes

 public:
  __device__ explicit FragmentPlaces(int line) {
    const int lane = static_cast<int>(threadIdx.x) % 32, within = lane % 8, block = lane / 8;
    const int first = block % 2, second = block / 2;
    const int ownLine = line + (LinesFirst ? first : second) * 8;
    const int ownDepth = (LinesFirst ? second : first) * kChunk<Element>;
#pragma unroll
    for (int i = 0; i < kOffsets; i++)
      offsets[i] = static_cast<int>(sizeof(Element)) *
                   (kOneByOne     ? Tile::offset(line + lane / 4 + i * 16, lane % 4) + lane / 4 % kChunk<Element>
                    : kAlongLines ? Tile::offset(ownLine + i * 16, ownDepth + within)
                                  : Tile::offset(ownLine + within, ownDepth + i * kMmaDepth<Element>));
  }

  // Loads 16 lines and the depths of an mma: the fragment-th of the warp, at the step-th depths of the stage. float32
  // is rounded to TF32.
  __device__ void load(const Tile& tile, int fragment, int step, uint32_t (&r)[4]) const {
    const int depths = Tile::offset(0, step * kMmaDepth<Element>);
    if constexpr (kOneByOne) {
      // Fragments begin at multiples of 16 lines, so eight lines further one bit of the place is set.
      const int place = offsets[fragment], eightLines = Tile::offset(8, 0) * static_cast<int>(sizeof(Element));
      const float *first = tile.after(place) + depths, *second = tile.after(place ^ eightLines) + depths;
      const int nextDepths = Tile::offset(0, kChunk<Element>);
      r[0] = roundedToTf32(*first);
      r[LinesFirst ? 1 : 2] = roundedToTf32(*second);
      r[LinesFirst ? 2 : 1] = roundedToTf32(first[nextDepths]);
      r[3] = roundedToTf32(second[nextDepths]);
    } else {
      if constexpr (kAlongLines)
        loadMatrices<true>(r, tile.after(offsets[fragment]) + depths);
      else
        loadMatrices<false>(r, tile.after(offsets[step]) + Tile::offset(fragment * 16, 0));
      if constexpr (!isBFloat16<Element>) {
#pragma unroll
        for (uint32_t& word : r) word = roundedToTf32(floatOfBits(word));
      }
    }
  }
};

// The sums of a product on tensor cores, of bfloat16 or of float32 that is rounded to TF32. Each warp keeps a part of
// the tile of C as mma fragments of 16 rows by 8 columns. A warp with 64 × 64 sums loads 1/8 of a fragment of A and of
// B for each mma. The tensor cores of a multiprocessor need about 1.6 cycles for an mma, and shared memory one for the
// fragments and a half for the copies. Both types have the same bytes in a fragment and take the same time for it, in
// which TF32 multiplies half as many elements.
template <class A, class B, class Tile>
class TensorCoreSums {
  using Element = typename A::Element;
  using TileA = StageTile<A, Tile::kRows>;
  using TileB = StageTile<B, Tile::kColumns>;
  static constexpr int kFragmentsA = Tile::kLinesA / 16, kFragmentsB = Tile::kLinesB / 16;
  float sums[kFragmentsA][2 * kFragmentsB][4] = {};
  FragmentPlaces<TileA, kFragmentsA, true> placesA;
  FragmentPlaces<TileB, kFragmentsB, false> placesB;
  int lineA, lineB;  // the first lines of the warp

 public:
  __device__ TensorCoreSums(int firstLineA, int firstLineB)
      : placesA(firstLineA), placesB(firstLineB), lineA(firstLineA), lineB(firstLineB) {}

  // Adds the product of a stage.
  __device__ void multiply(const TileA& a, const TileB& b) {
#pragma unroll
    for (int step = 0; step < kStageDepth<Element> / kMmaDepth<Element>; step++) {
      uint32_t ofA[kFragmentsA][4], ofB[kFragmentsB][4];
#pragma unroll
      for (int i = 0; i < kFragmentsA; i++) placesA.load(a, i, step, ofA[i]);
#pragma unroll
      for (int j = 0; j < kFragmentsB; j++) placesB.load(b, j, step, ofB[j]);
#pragma unroll
      for (int i = 0; i < kFragmentsA; i++)
#pragma unroll
        for (int j = 0; j < kFragmentsB; j++)
          multiplyAdd<!isBFloat16<Element>>(sums[i][2 * j], sums[i][2 * j + 1], ofA[i], ofB[j]);
    }
  }

  // Stores the sums at the addresses at(row, column). An even column and the next one must be neighbours there.
  template <class At>
  __device__ void store(const At& at) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < kFragmentsA; i++)
#pragma unroll
      for (int j = 0; j < 2 * kFragmentsB; j++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          *reinterpret_cast<float2*>(at(lineA + i * 16 + half * 8 + lane / 4, lineB + j * 8 + lane % 4 * 2)) =
              make_float2(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
  }
};

}  // namespace stepsize::cuda
