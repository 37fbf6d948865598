#include "base/digest.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <string>

namespace fedmpi {
namespace {

std::string sha256(std::string_view text) { return Digest().add(text).hex(); }

// FIPS 180-2, appendix B, and the empty message.
TEST(Digest, GivesThePublishedAnswers) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Digest, OfPartsIsTheDigestOfTheWhole) { EXPECT_EQ(Digest().add("a").add("").add("bc").hex(), sha256("abc")); }

TEST(Digest, OfNumbersIsTheDigestOfTheirBytes) {
  static_assert(std::endian::native == std::endian::little);
  const std::array<float, 2> values = {1.0f, -2.0f};  // 0x3f800000, 0xc0000000
  EXPECT_EQ(Digest().add(std::span<const float>(values)).hex(), sha256(std::string("\0\0\x80\x3f\0\0\0\xc0", 8)));
}

}  // namespace
}  // namespace fedmpi
