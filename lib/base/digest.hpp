// SHA-256 (FIPS 180-4) by OpenSSL.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace fedmpi {

class Digest {
 public:
  Digest();
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  Digest& add(std::span<const std::byte> bytes);
  Digest& add(std::string_view text);
  template <class T>
  Digest& add(std::span<const T> values) {
    return add(std::as_bytes(values));
  }
  std::string hex();  // of all that was added; the digest is spent

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace fedmpi
