// Keys and values of a text that has ancestors, brought to where they would lie had all of it been computed as one text:
// every sum over keys then has the same terms in the same order, and the result the same bits.
#pragma once

#include <algorithm>
#include <cstring>

#include "kv.h"
#include "lanes.h"

namespace farthing::FT_ISA {

// Tokens `first` .. `first + count` of `from` become those from `to_first` on of `to`.
inline void copy_keys(const uint16_t* from, int first, int count, int to_first, int head_dim, uint16_t* to) {
    const auto place = [head_dim](int token) {
        return static_cast<size_t>(token / kKeyPanel) * kKeyPanel * head_dim + token % kKeyPanel * 2;
    };
    for (int done = 0, part; done < count; done += part) {
        const int token = first + done, to_token = to_first + done;
        part = std::min({count - done, kKeyPanel - token % kKeyPanel, kKeyPanel - to_token % kKeyPanel});
        const uint16_t* source = from + place(token);
        uint16_t* target = to + place(to_token);
        for (int pair = 0; pair < head_dim / 2; ++pair, source += 2 * kKeyPanel, target += 2 * kKeyPanel)
            std::memcpy(target, source, part * 2 * sizeof(uint16_t));
    }
}

// One panel of channels of one token.
FT_INLINE void copy_value(const uint16_t* from, int token, int to_token, uint16_t* to) {
    const uint32_t* const source = reinterpret_cast<const uint32_t*>(from) + token / 2 * kPanelChannels;
    uint32_t* const target = reinterpret_cast<uint32_t*>(to) + to_token / 2 * kPanelChannels;
    const uint32_t half = 16 * (token % 2), to_half = 16 * (to_token % 2), others = 0xffff0000u >> to_half;
    for (int c = 0; c < kPanelChannels; c += kLanes)
        store(target + c, (load<Words>(source + c) >> half & 0xffffu) << to_half | (load<Words>(target + c) & others));
}

// Likewise one panel of channels of several.
inline void copy_values(const uint16_t* from, int first, int count, int to_first, uint16_t* to) {
    for (int done = 0; done < count;) {
        const int token = first + done, to_token = to_first + done, pairs = (count - done) / 2;
        if (pairs > 0 && token % 2 == 0 && to_token % 2 == 0) {
            std::memcpy(to + to_token * kPanelChannels, from + token * kPanelChannels,
                        pairs * 2 * kPanelChannels * sizeof(uint16_t));
            done += 2 * pairs;
        } else {
            copy_value(from, token, to_token, to);
            ++done;
        }
    }
}

// Makes one text of a text and its ancestors, a chunk of keys at a time.
class KeyGatherer {
public:
    // memory: [2][kKeyChunk][head_dim].
    KeyGatherer(const KvBuffers& kv, int head, int text, uint16_t* memory)
        : kv_(kv), head_(head), text_(text), keys_(memory), values_(memory + static_cast<size_t>(kKeyChunk) * kv.head_dim) {}

    // Keys and values from position `first_key`, a multiple of kKeyChunk, to `end`, at most kKeyChunk of them: where they
    // lie, if they do in whole panels of one text, else in the memory until the next call. Keys behind the end are any.
    KvSpan chunk(int first_key, int end) const {
        int text = text_;
        while (kv_.offset(text) >= end) text = kv_.parent(text);
        const int begin = kv_.offset(text);
        if (begin > first_key || begin % kKeyPanel != 0) return gather(text, first_key, end);
        const KvSpan span = kv_.span(head_, text);
        const size_t before = first_key - begin;
        return {span.keys + before * kv_.head_dim, span.values + before * kPanelChannels, span.padded_length};
    }

private:
    KvSpan gather(int text, int first_key, int end) const {
        clear_values_from(end - first_key);
        for (;; text = kv_.parent(text)) {
            const int offset = kv_.offset(text), begin = std::max(offset, first_key);
            const KvSpan span = kv_.span(head_, text);
            copy_keys(span.keys, begin - offset, end - begin, begin - first_key, kv_.head_dim, keys_);
            for (int panel = 0; panel < kv_.head_dim / kPanelChannels; ++panel)
                copy_values(span.values + static_cast<size_t>(panel) * span.padded_length * kPanelChannels, begin - offset,
                            end - begin, begin - first_key, values_of(panel));
            if (offset <= first_key) return {keys_, values_, kKeyChunk};
            end = begin;
        }
    }

    // To the end of the panel: they are multiplied, by zero.
    void clear_values_from(int token) const {
        const int first = token / 2 * 2, panel_end = static_cast<int>(round_up(token, kKeyPanel));
        for (int panel = 0; panel < kv_.head_dim / kPanelChannels; ++panel)
            std::memset(values_of(panel) + first * kPanelChannels, 0, (panel_end - first) * kPanelChannels * sizeof(uint16_t));
    }

    uint16_t* values_of(int panel) const { return values_ + static_cast<size_t>(panel) * kKeyChunk * kPanelChannels; }

    const KvBuffers& kv_;
    const int head_, text_;
    uint16_t *const keys_, *const values_;
};

}  // namespace farthing::FT_ISA
