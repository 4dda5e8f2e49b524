/** `--explain`: what is asked for, and the watch on the packet path that answers it. */
import type { Counters } from '../../channel/counters.ts'
import type { Engine } from '../../engine/engine.ts'
import type { Frames } from '../../wire/frames.ts'
import { FilterError } from '../filter/lex.ts'
import { asksOutcome, compileFilter } from '../filter/match.ts'
import { parseFilter } from '../filter/parse.ts'
import type { Expr } from '../filter/syntax.ts'
import { createDrops, dropsJson, dropsText } from './drops.ts'
import type { Sink } from './sink.ts'
import { answerJson, answerText, commentText, explanationJson, explanationText } from './text.ts'
import { createWatch, type CommentingOutlets, type WatchOptions, type Watched } from './watch.ts'

/** What `--explain` asks for. `drops`: a summary of them, of those that the filter takes; else each packet that it takes. */
export interface Asked { drops: boolean; filter: Expr | null }

export type Format = 'text' | 'json'

/** `drops`, `drops and FILTER`, or a filter. Throws `FilterError`. */
export function parseAsked(text: string): Asked {
  const drops = /^\s*drops\b\s*/.exec(text)?.[0]
  if (drops === undefined) return { drops: false, filter: parseFilter(text) }
  const joined = /^(?:and\b|&&)/.exec(text.slice(drops.length))?.[0]
  if (joined === undefined) {
    if (drops.length === text.length) return { drops: true, filter: null }
    throw new FilterError(drops.length + 1, "'drops' stands alone, or 'and' and a filter follow")
  }
  // Blanks keep the columns of the whole text.
  const before = drops.length + joined.length
  return { drops: true, filter: parseFilter(' '.repeat(before) + text.slice(before)) }
}

export interface Explainer {
  watch(frames: Frames, counters: Counters, engine: Engine, outlets: CommentingOutlets): Watched
  /** Between two batches: hands on what was written. */
  ready(): Promise<void>
  /** At the end. */
  finish(counters: Counters): Promise<void>
  /** Set when there are agents. */
  midcomRule: WatchOptions['midcomRule']
}

/** @param rulesFile the file in which firewall rules stand */
export function createExplainer(
  { drops: onlyDrops, filter }: Asked, format: Format, sink: Sink, rulesFile: string | null = null,
): Explainer {
  const drops = createDrops()
  const print = format === 'json' ? explanationJson : explanationText
  const printAnswer = format === 'json' ? answerJson : answerText
  const explainer: Explainer = {
    watch: (frames, counters, engine, outlets) => createWatch(frames, counters, engine, outlets, {
      match: filter === null ? () => true : compileFilter(filter),
      asksOutcome: filter !== null && asksOutcome(filter),
      explained: onlyDrops ? null : (explanation) => sink.write(print(explanation)),
      dropped: onlyDrops ? drops.add : null,
      answered: onlyDrops ? null : (answer) => sink.write(printAnswer(answer)),
      comment: onlyDrops ? null : commentText,
      midcomRule: (number) => explainer.midcomRule(number),
      rulesFile,
    }),
    ready: () => sink.ready(),
    async finish(counters) {
      if (onlyDrops) {
        const summary = drops.summary(filter === null ? counters : null)
        sink.write(format === 'json' ? dropsJson(summary) : dropsText(summary))
      }
      await sink.close()
    },
    midcomRule: () => undefined,
  }
  return explainer
}
