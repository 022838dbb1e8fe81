#include "cli/program.h"

int main(int argc, char** argv) { return onrush::cli::program(argc, argv); }
