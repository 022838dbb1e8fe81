// An explanation as one page that needs nothing else: no network, no other file.
#pragma once

#include <string>
#include <string_view>

#include "explain/explanation.h"

namespace onrush::explain {

// Readable without scripts; with them, steps can be chosen by pointer and keyboard, and tables
// sorted.
std::string page(const Explanation& explanation);

// page.html, with {{title}}, {{style}}, {{facts}}, {{sections}}, {{main}} and {{data}}.
std::string_view page_template();

// For Perfetto (ui.perfetto.dev) and Chrome's tracing: the Trace Event Format.
std::string trace(const Explanation& explanation);

}  // namespace onrush::explain
