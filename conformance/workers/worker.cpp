// libtorch's torch::nn::BatchNorm1d, over the wire (docs/wire.md).
//
// Compiled against the headers and libraries of the torch wheel, in about a minute:
//
//   T=$(python -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parent)')
//   g++ -std=c++20 -O1 worker.cpp -o worker -I$T/include -I$T/include/torch/csrc/api/include \
//       -L$T/lib -Wl,-rpath,$T/lib -ltorch -ltorch_cpu -lc10 \
//       -D_GLIBCXX_USE_CXX11_ABI=$(python -c 'import torch; print(+torch._C._GLIBCXX_USE_CXX11_ABI)')
//   bn1d run --worker ./worker
//
// On the CPU alone. To serve another layer in C++, change Layer and the answer to hello.

#include <torch/torch.h>

#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

using Tensor = torch::Tensor;

// JSON: a reader of what the kit writes (no escapes but \uXXXX of ASCII, no deep nesting).

struct Json {
  char kind = 'n';  // n(ull), b(ool), d(igits), s(tring), a(rray), o(bject)
  std::string text;
  std::vector<Json> items;
  std::map<std::string, Json> fields;

  bool has(const std::string& key) const { return fields.count(key) && at(key).kind != 'n'; }
  const Json& at(const std::string& key) const { return fields.at(key); }
  double number() const { return std::stod(text); }
  int64_t whole() const { return std::stoll(text); }
  bool truth() const { return text == "true"; }
};

struct Reader {
  const std::string& line;
  size_t at = 0;

  char next() {
    while (line.at(at) == ' ') ++at;
    return line.at(at);
  }

  std::string quoted() {
    const size_t start = ++at;
    at = line.find('"', start);
    if (at == std::string::npos) throw std::invalid_argument("a string that does not end");
    return line.substr(start, at++ - start);
  }

  Json read() {
    Json value;
    const char c = next();
    if (c == '"') {
      value.kind = 's';
      value.text = quoted();
    } else if (c == '{' || c == '[') {
      value.kind = c == '{' ? 'o' : 'a';
      const char end = c == '{' ? '}' : ']';
      for (++at; next() != end; at += next() == ',') {
        if (c == '[') {
          value.items.push_back(read());
          continue;
        }
        const std::string key = quoted();
        if (next() == ':') ++at;
        value.fields[key] = read();
      }
      ++at;
    } else {
      const size_t end = line.find_first_of(",]}", at);
      value.text = line.substr(at, end - at);
      value.kind = c == 'n' ? 'n' : (c == 't' || c == 'f') ? 'b' : 'd';
      at = end;
    }
    return value;
  }
};

std::string quote(const std::string& text) {
  std::string out = "\"";
  for (const unsigned char c : text.substr(0, 500)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c < 0x20 || c > 0x7e ? ' ' : static_cast<char>(c);
  }
  return out + "\"";
}

// Arrays: dtype, shape, base64 of little-endian bytes. This machine is little-endian.

const std::string LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const std::map<std::string, torch::Dtype> DTYPES = {
    {"float16", torch::kHalf},   {"bfloat16", torch::kBFloat16}, {"float32", torch::kFloat},
    {"float64", torch::kDouble}, {"int64", torch::kLong},        {"int32", torch::kInt},
    {"uint8", torch::kByte},     {"bool", torch::kBool},         {"complex64", torch::kComplexFloat},
};

std::string to_base64(const uint8_t* data, size_t size) {
  std::string out;
  for (size_t k = 0; k < size; k += 3) {
    uint32_t bits = data[k] << 16;
    if (k + 1 < size) bits |= data[k + 1] << 8;
    if (k + 2 < size) bits |= data[k + 2];
    for (int n = 0; n < 4; ++n)
      out += k + n > size ? '=' : LETTERS[(bits >> (18 - 6 * n)) & 63];
  }
  return out;
}

std::vector<uint8_t> from_base64(const std::string& text) {
  std::vector<uint8_t> out;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const size_t value = LETTERS.find(c);
    if (value == std::string::npos) break;  // the padding
    bits = bits << 6 | value;
    if ((held += 6) >= 8) out.push_back(bits >> (held -= 8) & 255);
  }
  return out;
}

Tensor decode(const Json& array) {
  std::vector<int64_t> shape;
  for (const Json& size : array.at("shape").items) shape.push_back(size.whole());
  std::vector<uint8_t> data = from_base64(array.at("data").text);
  return torch::from_blob(data.data(), shape, DTYPES.at(array.at("dtype").text)).clone();
}

std::string encode(const Tensor& given) {
  if (!given.defined()) return "null";
  const Tensor tensor = given.detach().contiguous();
  std::string name;
  for (const auto& [key, dtype] : DTYPES)
    if (dtype == tensor.scalar_type()) name = key;
  std::ostringstream shape;
  for (int64_t k = 0; k < tensor.dim(); ++k) shape << (k ? "," : "") << tensor.size(k);
  const auto* data = static_cast<const uint8_t*>(tensor.data_ptr());
  return "{\"dtype\":\"" + name + "\",\"shape\":[" + shape.str() + "],\"data\":\"" +
         to_base64(data, tensor.nbytes()) + "\"}";
}

// The layer.

struct Layer {
  torch::nn::BatchNorm1d module{nullptr};
  Tensor x, y;

  explicit Layer(const Json& config) {
    torch::nn::BatchNorm1dOptions options(config.at("num_features").whole());
    if (config.has("eps")) options.eps(config.at("eps").number());
    if (config.fields.count("momentum"))
      options.momentum(config.has("momentum") ? std::optional(config.at("momentum").number())
                                              : std::nullopt);
    if (config.has("affine")) options.affine(config.at("affine").truth());
    if (config.has("track_running_stats"))
      options.track_running_stats(config.at("track_running_stats").truth());
    module = torch::nn::BatchNorm1d(options);
    if (config.has("dtype")) module->to(DTYPES.at(config.at("dtype").text));
  }

  std::map<std::string, Tensor> tensors() const {
    return {{"weight", module->weight},
            {"bias", module->bias},
            {"running_mean", module->running_mean},
            {"running_var", module->running_var}};
  }

  std::string forward(const Json& request) {
    module->train(request.at("training").truth());
    module->zero_grad();
    x = decode(request.at("x"));
    if (request.at("grad").truth()) x.requires_grad_();
    y = module->forward(x);
    return "{\"y\":" + encode(y) + "}";
  }

  std::string backward(const Json& request) {
    y.backward(decode(request.at("dy")));
    const auto gradient = [](const Tensor& t) { return t.defined() ? t.grad() : t; };
    return "{\"dx\":" + encode(x.grad()) + ",\"dweight\":" + encode(gradient(module->weight)) +
           ",\"dbias\":" + encode(gradient(module->bias)) + "}";
  }

  std::string state() const {
    std::string out = "{";
    for (const auto& [name, tensor] : tensors()) out += quote(name) + ":" + encode(tensor) + ",";
    const Tensor count = module->num_batches_tracked;
    return out + "\"num_batches_tracked\":" +
           (count.defined() ? std::to_string(count.item<int64_t>()) : "null") + "}";
  }

  std::string load(const Json& state) {
    torch::NoGradGuard guard;
    for (auto& [name, tensor] : tensors())
      if (state.has(name) && tensor.defined()) Tensor(tensor).copy_(decode(state.at(name)));
    if (state.has("num_batches_tracked") && module->num_batches_tracked.defined())
      module->num_batches_tracked.fill_(state.at("num_batches_tracked").whole());
    return "{}";
  }
};

const char* HELLO = R"({"protocol":1,"name":"torch::nn::BatchNorm1d","version":")" TORCH_VERSION
    R"(","language":"C++","homepage":"https://docs.pytorch.org/cppdocs/",)"
    R"("capabilities":["train","eval","grad","param-grad","weights","statistics","parameters",)"
    R"("buffers","counter","cumulative","defaults","3d","eps-option","momentum-option",)"
    R"("affine-option","tracking-option","fp32","fp64","fp16","bf16"],"device":"cpu"})";

std::map<int64_t, Layer> layers;

std::string result(const Json& request) {
  const std::string what = request.at("do").text;
  if (what == "hello") return HELLO;
  if (what == "close") {
    if (request.has("layer")) layers.erase(request.at("layer").whole());
    return "{}";
  }
  const int64_t number = request.at("layer").whole();
  if (what == "build") {
    layers.insert_or_assign(number, Layer(request.at("config")));
    return "{}";
  }
  Layer& layer = layers.at(number);
  if (what == "forward") return layer.forward(request);
  if (what == "backward") return layer.backward(request);
  if (what == "state") return layer.state();
  if (what == "load") return layer.load(request.at("state"));
  throw std::invalid_argument("no request is called " + what);
}

std::string error(const std::string& type, const std::string& message) {
  return "\"error\":{\"type\":\"" + type + "\",\"message\":" + quote(message) + "}";
}

std::string answer(const Json& request) {
  try {
    return "\"result\":" + result(request);
  } catch (const c10::ValueError& e) {
    return error("ValueError", e.what_without_backtrace());
  } catch (const c10::TypeError& e) {
    return error("TypeError", e.what_without_backtrace());
  } catch (const c10::NotImplementedError& e) {
    return error("NotImplementedError", e.what_without_backtrace());
  } catch (const c10::Error& e) {
    return error("RuntimeError", e.what_without_backtrace());
  } catch (const std::out_of_range& e) {
    return error("LookupError", e.what());
  } catch (const std::exception& e) {
    return error("ValueError", e.what());
  }
}

int main() {
  torch::set_num_threads(1);
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Reader{line}.read();
    std::cout << "{\"id\":" << request.at("id").text << "," << answer(request) << "}" << std::endl;
    if (request.at("do").text == "close" && !request.has("layer")) break;
  }
}
