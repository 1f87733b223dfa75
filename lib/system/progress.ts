/** What a step did. Any other text is shown as it is and counts as a change. */
export type Outcome = 'unchanged' | 'created' | 'updated' | 'removed' | 'skipped' | (string & {})

/** What a running step can say. */
export interface StepProgress {
  /**
   * Replaces the text beside the spinner; where there is none, it is said once in a while as a line, so that a long step is no silence.
   * `rows` stand below it at a terminal, each at its place until the next call.
   */
  update(text: string, rows?: readonly string[]): void
  /** A line that stays, below the step's title. */
  line(text: string): void
}
