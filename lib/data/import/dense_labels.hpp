// Labels that begin at one or have gaps, renumbered so that every class has examples.
#pragma once

#include "data/source.hpp"

namespace fedmpi::data {

// The labels of the training data, in their order, become 0, 1, …; the schema's label_names keep what they were.
// Error(usage) for regression; Error(bad_data), also by the test data's next(), for a label that the training data
// lacks.
Input with_dense_labels(Input input);

}  // namespace fedmpi::data
