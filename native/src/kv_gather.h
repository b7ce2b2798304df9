// Keys and values of a text that has ancestors, brought to where they would lie had all of it been computed as one text:
// every sum over keys then has the same terms in the same order, and the result the same bits.
#pragma once

#include <algorithm>
#include <cstring>

#include "kv.h"
#include "lanes.h"

namespace farthing::FT_ISA {

// Tokens `first` .. `first + count` of `from` become those from `to_first` on of `to`. A key is `width` words of 32 bits.
inline void copy_keys(const uint32_t* from, int first, int count, int to_first, int width, uint32_t* to) {
    const auto place = [width](int token) {
        return static_cast<size_t>(token / kKeyPanel) * kKeyPanel * width + token % kKeyPanel;
    };
    for (int done = 0, part; done < count; done += part) {
        const int token = first + done, to_token = to_first + done;
        part = std::min({count - done, kKeyPanel - token % kKeyPanel, kKeyPanel - to_token % kKeyPanel});
        const uint32_t* source = from + place(token);
        uint32_t* target = to + place(to_token);
        for (int word = 0; word < width; ++word, source += kKeyPanel, target += kKeyPanel)
            std::memcpy(target, source, part * sizeof *source);
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

inline void copy_values(const float* from, int first, int count, int to_first, float* to) {
    std::memcpy(to + to_first * kPanelChannels, from + first * kPanelChannels, count * kPanelChannels * sizeof(float));
}

// Makes one text of a text and its ancestors, a chunk of keys at a time.
template <class Number>
class KeyGatherer {
public:
    static size_t memory_bytes(int head_dim) {
        return static_cast<size_t>(kKeyChunk) * (head_dim + value_width(head_dim)) * sizeof(Number);
    }

    KeyGatherer(const KvBuffers<Number>& kv, int head, int text, void* memory)
        : kv_(kv), head_(head), text_(text), keys_(static_cast<Number*>(memory)),
          values_(keys_ + static_cast<size_t>(kKeyChunk) * kv.head_dim) {}

    // Keys and values from position `first_key`, a multiple of kKeyChunk, to `end`, at most kKeyChunk of them: where they
    // lie, if they do in whole panels of one text, else in the memory until the next call. Keys behind the end are any.
    KvSpan<Number> chunk(int first_key, int end) const {
        int text = text_;
        while (kv_.offset(text) >= end) text = kv_.parent(text);
        const int begin = kv_.offset(text);
        if (begin > first_key || begin % kKeyPanel != 0) return gather(text, first_key, end);
        const KvSpan<Number> span = kv_.span(head_, text);
        const size_t before = first_key - begin;
        return {span.keys + before * kv_.head_dim, span.values + before * kPanelChannels, span.padded_length};
    }

private:
    KvSpan<Number> gather(int text, int first_key, int end) const {
        constexpr int kWordNumbers = sizeof(uint32_t) / sizeof(Number);
        clear_values_from(end - first_key);
        for (;; text = kv_.parent(text)) {
            const int offset = kv_.offset(text), begin = std::max(offset, first_key);
            const KvSpan<Number> span = kv_.span(head_, text);
            copy_keys(reinterpret_cast<const uint32_t*>(span.keys), begin - offset, end - begin, begin - first_key,
                      kv_.head_dim / kWordNumbers, reinterpret_cast<uint32_t*>(keys_));
            for (int panel = 0; panel < kv_.value_width / kPanelChannels; ++panel)
                copy_values(span.values + static_cast<size_t>(panel) * span.padded_length * kPanelChannels, begin - offset,
                            end - begin, begin - first_key, values_of(panel));
            if (offset <= first_key) return {keys_, values_, kKeyChunk};
            end = begin;
        }
    }

    // To the end of the panel: they are multiplied, by zero.
    void clear_values_from(int token) const {
        const int first = token / 2 * 2, panel_end = static_cast<int>(round_up(token, kKeyPanel));
        for (int panel = 0; panel < kv_.value_width / kPanelChannels; ++panel)
            std::memset(values_of(panel) + first * kPanelChannels, 0, (panel_end - first) * kPanelChannels * sizeof(Number));
    }

    Number* values_of(int panel) const { return values_ + static_cast<size_t>(panel) * kKeyChunk * kPanelChannels; }

    const KvBuffers<Number>& kv_;
    const int head_, text_;
    Number *const keys_, *const values_;
};

}  // namespace farthing::FT_ISA
