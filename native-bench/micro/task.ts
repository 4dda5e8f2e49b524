/** What a micro row measures: `run` does OPERATIONS operations, and `isRight` tells afterwards whether they did their work. */
export interface Task {
  run(): void
  isRight(): boolean
}

export const OPERATIONS = 1024
