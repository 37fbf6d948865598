// The subcommands of the program: one function and one file each.
#pragma once

namespace fedmpi::app {

// argv[0] is the command's own name. The return value is the exit code; errors are thrown as fedmpi::Error.
int shard(int argc, char** argv);
int train(int argc, char** argv);
int evaluate(int argc, char** argv);
int inspect(int argc, char** argv);

}  // namespace fedmpi::app
