// The kernels of cuda_layer.py: x, y, dy and dx are (N, C, L), contiguous; all others are (C,).
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/extension.h>

constexpr int THREADS = 256;  // a power of two

namespace {

struct Shape {
  int64_t n, c, length;
  __device__ int64_t count() const { return n * length; }
  // Where the i-th value of the block's channel lies.
  __device__ int64_t place(int64_t i) const {
    return (i / length * c + blockIdx.x) * length + i % length;
  }
};

template <typename wide>
__device__ wide sum_of_block(wide part) {
  __shared__ wide parts[THREADS];
  __syncthreads();  // an earlier sum has been read by all
  parts[threadIdx.x] = part;
  __syncthreads();
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  return parts[0];
}

template <typename scalar, typename wide>
__global__ void moments_kernel(const scalar* x, wide* mean, wide* var, Shape shape) {
  wide part = 0;
  for (int64_t i = threadIdx.x; i < shape.count(); i += THREADS) part += wide(x[shape.place(i)]);
  const wide middle = sum_of_block(part) / wide(shape.count());
  part = 0;
  for (int64_t i = threadIdx.x; i < shape.count(); i += THREADS) {
    const wide apart = wide(x[shape.place(i)]) - middle;
    part += apart * apart;
  }
  const wide squares = sum_of_block(part);
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = middle;
    var[blockIdx.x] = squares / wide(shape.count());
  }
}

template <typename scalar, typename wide>
__global__ void normalise_kernel(const scalar* x, scalar* y, const wide* mean, const wide* rstd,
                                 const wide* weight, const wide* bias, Shape shape) {
  const int c = blockIdx.x;
  const wide scale = rstd[c] * weight[c];
  for (int64_t i = threadIdx.x; i < shape.count(); i += THREADS) {
    const int64_t at = shape.place(i);
    y[at] = scalar((wide(x[at]) - mean[c]) * scale + bias[c]);
  }
}

template <typename scalar, typename wide>
__global__ void gradients_kernel(const scalar* x, const scalar* dy, scalar* dx, wide* dweight,
                                 wide* dbias, const wide* mean, const wide* rstd,
                                 const wide* weight, Shape shape, bool through) {
  const int c = blockIdx.x;
  wide sum = 0, product = 0;
  for (int64_t i = threadIdx.x; i < shape.count(); i += THREADS) {
    const int64_t at = shape.place(i);
    sum += wide(dy[at]);
    product += wide(dy[at]) * (wide(x[at]) - mean[c]);
  }
  sum = sum_of_block(sum);
  product = sum_of_block(product) * rstd[c];
  for (int64_t i = threadIdx.x; i < shape.count(); i += THREADS) {
    const int64_t at = shape.place(i);
    const wide hat = (wide(x[at]) - mean[c]) * rstd[c];
    const wide back = through ? (sum + hat * product) / wide(shape.count()) : wide(0);
    dx[at] = scalar((wide(dy[at]) - back) * rstd[c] * weight[c]);
  }
  if (threadIdx.x == 0) {
    dbias[c] = sum;
    dweight[c] = product;
  }
}

Shape shape_of(const at::Tensor& x) { return {x.size(0), x.size(1), x.size(2)}; }

}  // namespace

// Calls BODY with the types `scalar`, of x, and `wide`, of sums.
#define WITH_TYPES(x, NAME, ...)                                                              \
  const c10::cuda::CUDAGuard guard(x.device());                                               \
  const auto stream = at::cuda::getCurrentCUDAStream();                                       \
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, x.scalar_type(), NAME, [&] {      \
    using scalar = scalar_t;                                                                  \
    using wide = std::conditional_t<std::is_same_v<scalar, double>, double, float>;           \
    __VA_ARGS__;                                                                              \
  });                                                                                         \
  C10_CUDA_KERNEL_LAUNCH_CHECK()

void moments(at::Tensor x, at::Tensor mean, at::Tensor var) {
  WITH_TYPES(x, "moments",
             moments_kernel<scalar, wide><<<x.size(1), THREADS, 0, stream>>>(
                 x.data_ptr<scalar>(), mean.data_ptr<wide>(), var.data_ptr<wide>(), shape_of(x)));
}

void normalise(at::Tensor x, at::Tensor y, at::Tensor mean, at::Tensor rstd, at::Tensor weight,
               at::Tensor bias) {
  WITH_TYPES(x, "normalise",
             normalise_kernel<scalar, wide><<<x.size(1), THREADS, 0, stream>>>(
                 x.data_ptr<scalar>(), y.data_ptr<scalar>(), mean.data_ptr<wide>(),
                 rstd.data_ptr<wide>(), weight.data_ptr<wide>(), bias.data_ptr<wide>(),
                 shape_of(x)));
}

void gradients(at::Tensor x, at::Tensor dy, at::Tensor dx, at::Tensor dweight, at::Tensor dbias,
               at::Tensor mean, at::Tensor rstd, at::Tensor weight, bool through) {
  WITH_TYPES(x, "gradients",
             gradients_kernel<scalar, wide><<<x.size(1), THREADS, 0, stream>>>(
                 x.data_ptr<scalar>(), dy.data_ptr<scalar>(), dx.data_ptr<scalar>(),
                 dweight.data_ptr<wide>(), dbias.data_ptr<wide>(), mean.data_ptr<wide>(),
                 rstd.data_ptr<wide>(), weight.data_ptr<wide>(), shape_of(x), through));
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("moments", &moments);
  m.def("normalise", &normalise);
  m.def("gradients", &gradients);
}
