// xsk.cpp - mmap at the offsets that the kernel names
#include "xdp/xsk.h"

namespace underpass {

namespace {

template <class Entry>
Result<void> map_one(int fd, uint64_t page_offset, const xdp_ring_offset& offsets, uint32_t entries,
                     Ring<Entry>& ring, Mapping& mapping) {
  if (entries == 0) return {};
  const size_t bytes = offsets.desc + entries * sizeof(Entry);
  auto map = Mapping::map(fd, bytes, static_cast<long>(page_offset), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_POPULATE);
  if (!map) return Error{map.error()};
  mapping = std::move(*map);
  ring = Ring<Entry>(mapping.get(), offsets, entries);
  return {};
}

}  // namespace

Result<XskRings> XskRings::map(int fd, const RingSizes& sizes) {
  xdp_mmap_offsets offsets{};
  socklen_t length = sizeof offsets;
  const int got = sys::getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length);
  if (got < 0) return Error{-got};
  XskRings rings;
  const Result<void> steps[] = {
      map_one(fd, XDP_PGOFF_RX_RING, offsets.rx, sizes.rx, rings.rx, rings.maps[0]),
      map_one(fd, XDP_PGOFF_TX_RING, offsets.tx, sizes.tx, rings.tx, rings.maps[1]),
      map_one(fd, XDP_UMEM_PGOFF_FILL_RING, offsets.fr, sizes.fill, rings.fill, rings.maps[2]),
      map_one(fd, XDP_UMEM_PGOFF_COMPLETION_RING, offsets.cr, sizes.completion, rings.completion,
              rings.maps[3]),
  };
  for (const auto& step : steps) {
    if (!step) return Error{step.error()};
  }
  return rings;
}

}  // namespace underpass
