/** How every command of the program shows its help and its errors. */
import { Help, type Command, type HelpConfiguration, type Option } from 'commander'

export const HELP: HelpConfiguration = {
  showGlobalOptions: true,
  optionDescription(option: Option) {
    // An option that may be given several times begins with an empty list, which tells nobody anything.
    const isEmpty = Array.isArray(option.defaultValue) && option.defaultValue.length === 0
    return Help.prototype.optionDescription.call(this, isEmpty ? Object.assign(Object.create(option) as Option,
      { defaultValue: undefined }) : option)
  },
}

/** Commands that are made below it later have the same. */
export function speakAlike(program: Command): void {
  program.configureHelp(HELP)
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'pinhole: ')) })
    .exitOverride()
}

/** An error of a command line names the help that tells of that command. */
export function nameTheirHelp(command: Command, path = command.name()): void {
  command.showHelpAfterError(`(${path} --help tells more)`)
  for (const below of command.commands) nameTheirHelp(below, `${path} ${below.name()}`)
}
