// allocator.cpp - lwIP's memory: free blocks are kept by size
//
// Each segment that is sent takes and gives back two blocks. A list for each size costs a tenth of
// malloc(3), which takes locks and must serve every size. Guarded by the stack mutex, as lwIP is.
#include <array>
#include <cstdlib>

#include "stack/lwip_port/arch/cc.h"

namespace {

constexpr size_t kStepBytes = 64;
constexpr size_t kLargestBytes = 2048;
// Of each size; what is more goes back to the process.
constexpr size_t kMaxKept = 2048;

// Before each block, and as large as malloc()'s alignment. A kept block's data begins with the
// next.
struct alignas(max_align_t) Header {
  size_t size_index;
};

struct Kept {
  Header* first = nullptr;
  size_t count = 0;
};

constexpr size_t kSizes = kLargestBytes / kStepBytes + 1;
std::array<Kept, kSizes> kept;

Header*& next_of(Header* header) { return *reinterpret_cast<Header**>(header + 1); }

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeep = false;  // a use after free is to be seen
#else
constexpr bool kKeep = true;
#endif

}  // namespace

void* underpass_allocate(size_t bytes) {
  const size_t index = (bytes + kStepBytes - 1) / kStepBytes;
  if (index < kSizes && kept[index].first != nullptr) {
    Kept& blocks = kept[index];
    Header* const header = blocks.first;
    blocks.first = next_of(header);
    --blocks.count;
    return header + 1;
  }
  auto* const header = static_cast<Header*>(std::malloc(sizeof(Header) + index * kStepBytes));
  if (header == nullptr) return nullptr;
  header->size_index = index;
  return header + 1;
}

void underpass_free(void* block) {
  if (block == nullptr) return;
  Header* const header = static_cast<Header*>(block) - 1;
  const size_t index = header->size_index;
  if (!kKeep || index >= kSizes || index == 0 || kept[index].count == kMaxKept) {
    std::free(header);
    return;
  }
  next_of(header) = kept[index].first;
  kept[index].first = header;
  ++kept[index].count;
}
