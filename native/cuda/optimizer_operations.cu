// Launches the kernels of the optimizer's step: the norm of the gradient, the scalars of the step, and one update of
// all tensors; and the traffic of an update.
#include "gradient_norm.cuh"
#include "launch_support.h"
#include "traffic.cuh"
#include "update.cuh"

namespace stepsize::cuda {

namespace {

void gradientNorm(CudaDevice& device, const Record& record) {
  const TensorList& gradients = *record.lists[0];
  const ListTables& tables = device.tables().of(gradients, false);
  const uint32_t chunks = tables.chunks->count;
  // The counter of finished blocks, then one partial sum per chunk.
  const DeviceMemory scratch = device.scratch((size_t{chunks} + 1) * sizeof(double));
  auto* finished = static_cast<unsigned*>(scratch.get());
  check(cudaMemsetAsync(finished, 0, sizeof(unsigned), device.stream()), "gradientNorm");
  const auto start = [&](auto kernel) {
    launch(kernel, blocksFor(device, chunks), kNormThreads, 0, device.stream(), tables.chunks->chunks(), chunks,
           tables.tensors(), static_cast<double*>(scratch.get()) + 1, finished, output(record, 0).as<double>());
  };
  const bool low = !gradients.tensors.empty() && gradients.tensors[0].type == DataType::bfloat16;
  if (low)
    start(gradientNormKernel<BFloat16>);
  else
    start(gradientNormKernel<float>);
}

void prepareStep(CudaDevice& device, const Record& record) {
  const bool scheduled = integer(record, attribute::prepareStep::scheduled) != 0;
  const TensorView &hyper = record.tensors[0], &groupOf = record.tensors[3];
  auto* state = record.tensors[1].as<double>();
  const bool weighed = integer(record, attribute::prepareStep::weighed) != 0;
  // The weight comes after the norm, if there is one, and before the schedule.
  const int last = record.inputs - (scheduled ? 1 : 0) - (weighed ? 1 : 0);
  const double* norm = last == 5 ? input(record, 4).as<double>() : nullptr;
  const float* weight = weighed ? input(record, last).floats() : nullptr;
  const TensorView* schedule = scheduled ? &record.tensors[static_cast<size_t>(record.inputs - 1)] : nullptr;
  const update::StepTables tables{hyper.as<const update::Hyper>(),
                                  hyper.shape[0],
                                  scheduled ? schedule->as<const update::Scheduled>() : nullptr,
                                  scheduled ? schedule->shape[0] : 0,
                                  reinterpret_cast<update::State*>(state),
                                  reinterpret_cast<update::GroupState*>(state + update::kStateFields),
                                  groupOf.as<const int32_t>(),
                                  record.tensors[2].as<int32_t>(),
                                  groupOf.elements(),
                                  output(record, 0).as<update::Scalars>()};
  const update::StepOptions options{record.attributes[attribute::prepareStep::maxNorm],
                                    integer(record, attribute::prepareStep::checkFinite) != 0,
                                    integer(record, attribute::prepareStep::skipNonFinite) != 0,
                                    record.attributes[attribute::prepareStep::gradientScale]};
  launch(prepareStepKernel, 1, kPrepareThreads, 0, device.stream(), tables, norm, weight, options);
}

// Calls visit(rule, storage) for the rule with this number and the types of the record's lists.
template <class Visit>
void visitUpdate(const Record& record, int64_t ruleNumber, const Visit& visit) {
  const auto isLow = [&](int list) {
    const std::vector<TensorView>& tensors = record.lists[static_cast<size_t>(list)]->tensors;
    return !tensors.empty() && tensors[0].type == DataType::bfloat16;
  };
  update::visitStep(ruleNumber, static_cast<int64_t>(record.lists.size()), isLow, visit);
}

void update(CudaDevice& device, const Record& record) {
  UpdateTables tables{};
  for (size_t list = 0; list < record.lists.size(); list++) {
    const ListTables& own = device.tables().of(*record.lists[list], list == 0);
    tables.lists[list] = own.tensors();
    if (list > 0) continue;
    tables.chunks = own.chunks->chunks();
    tables.chunkCount = own.chunks->count;
  }
  if (tables.chunkCount == 0) return;
  const UpdateOptions options{static_cast<uint64_t>(record.attributes[attribute::update::roundingSeed]),
                              integer(record, attribute::update::zeroGradients) != 0};
  const TensorView &rows = record.tensors[0], &updates = record.tensors[1];
  // The rows of the groups come first.
  const auto* scalars = rows.as<const update::Scalars>() + rows.shape[0] - updates.elements();
  visitUpdate(record, integer(record, attribute::update::rule), [&](auto rule, auto types) {
    launch(updateKernel<decltype(rule), decltype(types)>, blocksFor(device, tables.chunkCount), kUpdateThreads, 0,
           device.stream(), tables, scalars, updates.as<int32_t>(), options);
  });
}

void traffic(CudaDevice& device, const Record& record) {
  visitUpdate(record, integer(record, attribute::traffic::rule), [&](auto rule, auto types) {
    using Rule = decltype(rule);
    using Lists = TrafficLists<Rule, decltype(types)>;
    for (size_t t = 0; t < record.lists[0]->tensors.size(); t++) {
      Lists lists{};
      lists.aligned = true;
      const auto at = [&](int list) {
        void* data = record.lists[static_cast<size_t>(list)]->tensors[t].data;
        lists.aligned = lists.aligned && reinterpret_cast<uintptr_t>(data) % 16 == 0;
        return data;
      };
      lists.parameter = static_cast<typename Lists::Parameter*>(at(0));
      lists.gradient = static_cast<typename Lists::Gradient*>(at(1));
      for (int m = 0; m < Rule::kMoments; m++) lists.moments[m] = static_cast<typename Lists::Moment*>(at(2 + m));
      if constexpr (decltype(types)::kCopies) lists.copy = static_cast<uint16_t*>(at(2 + Rule::kMoments));
      lists.count = record.lists[0]->tensors[t].elements();
      if (lists.count == 0) continue;
      constexpr int64_t perBlock = int64_t{kTrafficThreads} * Lists::kWidth;
      launch(trafficKernel<Rule, decltype(types)>, blocksFor(device, (lists.count + perBlock - 1) / perBlock),
             kTrafficThreads, 0, device.stream(), lists);
    }
  });
}

}  // namespace

namespace launchers {

const Launcher gradientNorm = cuda::gradientNorm;
const Launcher prepareStep = cuda::prepareStep;
const Launcher update = cuda::update;
const Launcher traffic = cuda::traffic;

}  // namespace launchers

}  // namespace stepsize::cuda
