// Onrush as a worker serves it. The peers' workers (folder worker/, in Python) answer the same
// calls:
//
//   version  -> version
//   load     model, inputs (.npz), types (of inputs by name), device, threads, precision, placement
//            ("host": inputs and outputs lie in host memory; "device": on the GPU)
//            -> load_ms, first_ms
//   outputs  file -> names; writes the outputs of the first run as arrays "0", "1", ... of an .npz
//   profile  runs, folder, cupti (the library, on a GPU) -> run_us, events, graph, unwaited_us:
//            see engines/peer_profile.h; peers only
//   round    seconds, least, most -> ns: as many runs as fit, each until its results are there
#pragma once

namespace onrush::engines {

// Until standard input ends. Knows more calls than the peers:
//   memory   -> weights, scratch, graphs, pinned: see MemoryUse
//   load     takes also cache_folder, tune
//   gpu      device -> pci_address
//   open_loop rate, callers, seconds -> see OpenLoopFigures
void serve_onrush();

}  // namespace onrush::engines
