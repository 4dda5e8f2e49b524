import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { digest } from '../config/config.ts'
import { defaultConfig } from '../config/load.ts'
import { template } from '../config/template.ts'
import { schemaText } from './check.ts'
import { STATUS, STATUS_HELP } from './status.ts'

const ROOT = new URL('../../../../', import.meta.url)      // above build/
const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'pinhole-cli-'))
after(() => rmSync(scratch, { recursive: true }))

function pinhole(args: string[], { input = '', env = {} }: { input?: string; env?: Record<string, string> } = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    cwd: scratch, encoding: 'utf8', input, env: { ...process.env, PINHOLE_DEBUG: '', ...env },
  })
  return { status, stdout, stderr }
}

writeFileSync(join(scratch, 'good.yaml'), 'timers: {udp: 3m}\n')
writeFileSync(join(scratch, 'bad.yaml'), 'timers:\n  udp: 300\nnatt: {}\n')

test('cli: --version prints the version of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as { version: string }
  assert.deepEqual(pinhole(['--version']), { status: 0, stdout: `${version}\n`, stderr: '' })
})

test('cli: --help shows the commands, examples and what each exit status means', () => {
  const { status, stdout, stderr } = pinhole(['--help'])
  assert.equal(status, 0)
  assert.equal(stderr, '')
  for (const part of ['replay', 'check', 'init', 'Examples:', 'Exit status:', '--debug']) assert(stdout.includes(part), part)
  for (const code of Object.values(STATUS)) assert.match(stdout, new RegExp(`^  ${code} +\\S`, 'm'))
})

test('cli: a command line that cannot be used ends with status 2, and advice on stderr', () => {
  const cases: [string[], RegExp][] = [
    [[], /Usage: pinhole/],
    [['chek', 'good.yaml'], /unknown command 'chek'\n\(Did you mean check\?\)/],
    [['check'], /missing required argument 'file'/],
    [['check', '--jsn', 'good.yaml'], /unknown option '--jsn'\n\(Did you mean --json\?\)/],
    [['check', '--schema', 'good.yaml'], /--schema takes no files/],
    [['replay'], /^pinhole: missing required argument 'capture'\n\(pinhole replay --help tells more\)\n$/],
    [['ctl', 'reserve'], /^pinhole: required option '--protocol <name>' not specified\n\(pinhole ctl reserve --help tells more\)\n$/],
    [['bench', 'comparr'], /^pinhole: bench has no 'comparr': it takes compare, report, or options such as --only\n\(Did you mean compare\?\)\n\(pinhole bench --help tells more\)\n$/],
  ]
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = pinhole(args)
    assert.equal(status, 2, args.join(' '))
    assert.equal(stdout, '')
    assert.match(stderr, message)
  }
})

test('cli: help shows no empty list as a default, and tells of benchmarks where there are none', () => {
  for (const command of ['replay', 'run', 'why', 'check']) assert.doesNotMatch(pinhole([command, '--help']).stdout, /default: \[\]/, command)
  const { status, stdout } = pinhole(['bench', '--help'])
  assert.equal(status, 0)
  assert.match(stdout, /^Usage: pinhole bench /)
})

test('cli: help, README and code list the same exit statuses', () => {
  const codes = Object.values(STATUS)
  assert.deepEqual([...STATUS_HELP.matchAll(/^ {2}(\d+) /gm)].map(([, code]) => Number(code)), codes)
  const table = /\| exit status \| meaning \|\n\|[ -|]+\n((?:\|.*\n)+)/.exec(readFileSync(new URL('README.md', ROOT), 'utf8'))?.[1]
  const rows = [...table!.matchAll(/^\| ([\d, ]+) \|/gm)].flatMap(([, cell]) => cell.split(', ').map(Number))
  assert.deepEqual(rows, codes)
})

test('cli: a bug of ours ends with status 70 and one line', () => {
  const breakInit = 'data:text/javascript,process.stdout.write = () => { throw new TypeError("such a pity") }'
  const { status, stderr } = spawnSync(process.execPath, ['--import', breakInit, MAIN, 'init'], { encoding: 'utf8' })
  assert.equal(status, 70)
  assert.equal(stderr, 'pinhole: such a pity (a bug; --debug shows where)\n')
})

test('check: a good file is ok, a bad one is explained with status 1, one that is not there with status 2 as everywhere', () => {
  assert.deepEqual(pinhole(['check', 'good.yaml']), { status: 0, stdout: 'good.yaml: ok\n', stderr: '' })
  assert.equal(pinhole(['check', 'good.yaml', 'bad.yaml']).status, 1)
  for (const args of [['check', 'absent.yaml'], ['replay', 'absent.pcap'], ['replay', '--config', 'absent.yaml', 'absent.pcap']]) {
    assert.equal(pinhole(args).status, 2, args.join(' '))
  }
  const { status, stdout, stderr } = pinhole(['check', 'good.yaml', 'bad.yaml', 'absent.yaml'])
  assert.equal(status, 2)
  assert.equal(stderr, '')
  assert.deepEqual(stdout.split('\n'), [
    'good.yaml: ok',
    'bad.yaml:2:8: timers.udp: 300 has no unit; did you mean 5m? The units are d, h, m, s and ms',
    'bad.yaml:3:1: natt: no such setting; did you mean nat?',
    'absent.yaml: there is no such file; `pinhole init` prints one to begin with',
    '',
  ])
})

test('check: standard input is a file too', () => {
  assert.deepEqual(pinhole(['check', '-'], { input: template() }), { status: 0, stdout: '-: ok\n', stderr: '' })
  assert.match(pinhole(['check', '-'], { input: 'x: 1' }).stdout, /^-:1:1: x: no such setting/)
})

test('check: --json tells the same to programs', () => {
  const { status, stdout } = pinhole(['check', '--json', 'bad.yaml', 'absent.yaml', '-'])
  assert.equal(status, 2)
  assert.deepEqual(JSON.parse(stdout), {
    version: 1,
    ok: false,
    files: [
      {
        file: 'bad.yaml', ok: false, digest: null, error: null,
        problems: [
          {
            line: 2, column: 8, path: 'timers.udp', message: '300 has no unit',
            suggestion: 'did you mean 5m? The units are d, h, m, s and ms',
          },
          { line: 3, column: 1, path: 'natt', message: 'no such setting', suggestion: 'did you mean nat?' },
        ],
      },
      {
        file: 'absent.yaml', ok: false, digest: null, problems: [],
        error: 'absent.yaml: there is no such file; `pinhole init` prints one to begin with',
      },
      { file: '-', ok: true, digest: digest(defaultConfig()), error: null, problems: [] },
    ],
  })
})

test('check: --schema prints the schema, and the copy in docs/ is not stale', () => {
  const { status, stdout } = pinhole(['check', '--schema'])
  assert.equal(status, 0)
  assert.equal(stdout, schemaText())
  assert.equal(readFileSync(new URL('docs/pinhole.schema.json', ROOT), 'utf8'), stdout, 'run `npm run schema`')
})

test('init: prints the configuration, or writes it to a file that does not exist yet', () => {
  assert.deepEqual(pinhole(['init']), { status: 0, stdout: template(), stderr: '' })
  const path = join(scratch, 'new.yaml')
  assert.deepEqual(pinhole(['init', '-o', path]), { status: 0, stdout: '', stderr: '' })
  assert.equal(readFileSync(path, 'utf8'), template())
  writeFileSync(path, 'mine')
  const refused = pinhole(['init', '--output', path])
  assert.deepEqual([refused.status, refused.stdout], [4, ''])
  assert.match(refused.stderr, /^pinhole: .*new\.yaml exists; --force overwrites it\n$/)
  assert.equal(readFileSync(path, 'utf8'), 'mine')
  assert.equal(pinhole(['init', '-o', path, '--force']).status, 0)
  assert.equal(readFileSync(path, 'utf8'), template())
})

test('cli: an output that cannot be written ends with status 4 and one line; --debug adds the stack', () => {
  const args = ['init', '-o', join(scratch, 'absent', 'x.yaml')]
  const plain = pinhole(args)
  assert.equal(plain.status, 4)
  assert.match(plain.stderr, /^pinhole: cannot write [^\n]+x\.yaml: no such file or directory \(ENOENT\)\n$/)
  for (const debug of [pinhole([...args, '--debug']), pinhole(args, { env: { PINHOLE_DEBUG: '1' } })]) {
    assert.equal(debug.status, 4)
    assert.match(debug.stderr, /^pinhole: cannot write [^\n]+\(ENOENT\)\n[\s\S]+\n {4}at /)
  }
})

test('cli: a full disk under stdout ends with status 4', { skip: existsSync('/dev/full') ? false : 'no /dev/full' }, () => {
  const { status, stderr } = spawnSync('/bin/sh', ['-c', `"${process.execPath}" "${MAIN}" init > /dev/full`], { encoding: 'utf8' })
  assert.equal(status, 4)
  assert.match(stderr, /^pinhole: cannot write standard output: [^\n]+ \(ENOSPC\)\n$/)
})

test('cli: a reader that goes away is no error', async () => {
  const child = spawn(process.execPath, [MAIN, 'init'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', text => { stderr += text })
  child.stdout.destroy()
  const status = await new Promise(resolve => child.on('close', resolve))
  assert.deepEqual([status, stderr], [0, ''])
})
