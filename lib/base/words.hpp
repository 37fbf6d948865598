// Whole numbers, texts and lists of them as one list of 64-bit words, which is how they travel between ranks.
//
//   struct Header {
//     std::uint64_t file;
//     std::vector<std::string> columns;
//     void travel(auto& words) { words(file, columns); }
//   };
//
// One function says what travels, and in what order: WordWriter writes with it, WordReader reads with it.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace fedmpi {

template <class T>
concept Word = std::integral<T> || std::is_enum_v<T>;

class WordWriter {
 public:
  template <class... Values>
  void operator()(Values&... values) {
    (write(values), ...);
  }
  std::vector<std::uint64_t> words;

 private:
  template <class T>
  void write(T& value) {
    if constexpr (Word<T>)
      words.push_back(static_cast<std::uint64_t>(value));
    else
      value.travel(*this);
  }
  void write(const std::string& text) {
    words.push_back(text.size());
    const std::size_t first = words.size();
    words.resize(first + (text.size() + 7) / 8);
    std::memcpy(words.data() + first, text.data(), text.size());
  }
  void write(std::string& text) { write(std::as_const(text)); }
  template <class T>
  void write(std::vector<T>& list) {
    words.push_back(list.size());
    for (T& value : list) write(value);
  }
};

// Error(bug) when the words end too early: they were written as something else.
class WordReader {
 public:
  explicit WordReader(std::span<const std::uint64_t> words) : words_(words) {}

  template <class... Values>
  void operator()(Values&... values) {
    (read(values), ...);
  }
  bool at_end() const { return words_.empty(); }

 private:
  std::span<const std::uint64_t> take(std::uint64_t n) {
    if (n > words_.size()) fail(ExitCode::bug, "expected {} more words of a message, found {}", n, words_.size());
    const auto taken = words_.first(n);
    words_ = words_.subspan(n);
    return taken;
  }
  // Of what has at most so many elements in a word, and ends with the message.
  std::size_t length(std::uint64_t per_word) {
    const std::uint64_t n = take(1)[0];
    if (n / per_word > words_.size())
      fail(ExitCode::bug, "expected a list in {} words of a message, found one of {} elements", words_.size(), n);
    return n;
  }

  template <class T>
  void read(T& value) {
    if constexpr (Word<T>)
      value = static_cast<T>(take(1)[0]);
    else
      value.travel(*this);
  }
  void read(std::string& text) {
    text.resize(length(8));
    std::memcpy(text.data(), take((text.size() + 7) / 8).data(), text.size());
  }
  template <class T>
  void read(std::vector<T>& list) {
    list.resize(length(1));
    for (T& value : list) read(value);
  }

  std::span<const std::uint64_t> words_;
};

}  // namespace fedmpi
