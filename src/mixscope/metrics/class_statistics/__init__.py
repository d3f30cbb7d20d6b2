"""Class statistics in one pass: counts, means and scatter.

What is fed to `ClassStatistics` or `ClassMoments` goes this way:

- `class_sums` checks a batch and lets its rows wait in `row_blocks` until there is a block of them, which also
  says what must be float64.
- `shifted_sums` subtracts a fixed row per class, its shift, near the class mean, and adds up the residuals and their
  squares by class. A shift that turns out far from its mean is moved onto it, exactly.
- `symmetric` adds residuals^T residuals, the upper half alone, in float32 as far as that keeps its digits.
- Whatever is read is about the class means: sums about shifts become sums about means in closed form.
- Other instances and other processes are joined by their means.
"""
