{
  "variables": {
    # GCC and clang both compile this; each knows warnings that the other does not.
    "warnings": ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-warning-option"],
    "optimisation": ["-O3", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"],
    # One arithmetic for all backends: no contraction the source does not ask for. Without -fno-math-errno a square
    # root is a library call.
    "kernel_flags": ["-ffp-contract=off", "-fno-math-errno"],
  },
  "target_defaults": {
    "cflags!": ["-O2", "-fno-omit-frame-pointer"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20", "-std=c++17"],
    "cflags": ["<@(warnings)", "<@(optimisation)"],
    "cflags_cc": ["-std=c++20", "-fexceptions"],
  },
  "targets": [
    {
      "target_name": "kernels_portable",
      "type": "static_library",
      "sources": ["native/cpu/kernels_portable.cc"],
      "cflags": ["-fPIC", "<@(kernel_flags)"],
    },
    {
      "target_name": "cpu",
      "sources": [
        "native/operations.cc",
        "native/shape_rules.cc",
        "native/shape_rules_sequence.cc",
        "native/allocator.cc",
        "native/spoiled_memory.cc",
        "native/binding/addon.cc",
        "native/binding/arguments.cc",
        "native/binding/device_handle.cc",
        "native/binding/errors.cc",
        "native/binding/capture_handle.cc",
        "native/binding/list_handle.cc",
        "native/binding/tensor_handle.cc",
        "native/cpu/available_resources.cc",
        "native/cpu/cpu_device.cc",
        "native/cpu/instruction_sets.cc",
        "native/cpu/memory.cc",
        "native/cpu/thread_pool.cc",
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=8",
        "NODE_ADDON_API_CPP_EXCEPTIONS_ALL",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      ],
      # GCC 12 sees an overlap in std::string's operator+ that cannot be (its bug 105651).
      "cflags": ["-Wno-restrict"],
      "dependencies": ["kernels_portable"],
      "conditions": [
        ["target_arch=='x64'", {"dependencies": ["kernels_avx2", "kernels_avx512"]}],
        ["target_arch=='arm64'", {"dependencies": ["kernels_neon"]}],
        [
          "OS=='linux'",
          {
            "ldflags": [
              "-static-libstdc++",
              "-Wl,--gc-sections",
              # Node unloads an addon with the last worker thread that loaded it; our threads may still be running.
              "-Wl,-z,nodelete",
              "-Wl,--version-script=<(module_root_dir)/native/binding/exports.map",
            ],
          },
        ],
      ],
    },
  ],
  "conditions": [
    [
      "target_arch=='x64'",
      {
        "targets": [
          {
            "target_name": "kernels_avx2",
            "type": "static_library",
            "sources": ["native/cpu/kernels_avx2.cc"],
            "cflags": ["-fPIC", "<@(kernel_flags)", "-mavx2", "-mfma"],
          },
          {
            "target_name": "kernels_avx512",
            "type": "static_library",
            "sources": ["native/cpu/kernels_avx512.cc"],
            # GCC 12 warns about the undefined operand inside its own AVX-512 intrinsics.
            "cflags": [
              "-fPIC", "<@(kernel_flags)", "-Wno-maybe-uninitialized", "-mprefer-vector-width=512",
              "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma",
            ],
          },
        ],
      },
    ],
    [
      "target_arch=='arm64'",
      {
        "targets": [
          {
            "target_name": "kernels_neon",
            "type": "static_library",
            "sources": ["native/cpu/kernels_neon.cc"],
            "cflags": ["-fPIC", "<@(kernel_flags)"],
          },
        ],
      },
    ],
  ],
}
