// The matrix units of x86: eight tile registers of 16 rows of 64 bytes.
#pragma once

#define ONRUSH_AMX __attribute__((target("amx-tile,amx-bf16")))

namespace onrush::cpu {

// Whether this process may use AMX for bf16. Linux gives a process the tile state when it asks;
// threads started later inherit it.
bool has_amx();

// A thread's use of the registers, all of them whole.
void amx_begin();
void amx_end();

}  // namespace onrush::cpu
