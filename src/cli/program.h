// The program `onrush`: parses its command line and runs a command.
#pragma once

namespace onrush::cli {

// Takes what main() takes. Prints to standard output, and errors to standard error. Gives the exit
// code: 0 success, 1 an error in model or input, 2 wrong usage.
int program(int argc, char** argv);

}  // namespace onrush::cli
