/**
 * Counters of the SNMP engine. Those of the MIBs have the names of the MIBs; ours say direction-what-unit, as everywhere in the
 * box.
 */
export function createSnmpCounters() {
  return {
    'in-bytes': 0, 'out-bytes': 0, 'in-messages': 0, 'out-messages': 0,
    'in-get-requests': 0, 'in-get-next-requests': 0, 'in-get-bulk-requests': 0, 'in-set-requests': 0,
    'out-error-responses': 0, 'out-reports': 0, 'out-traps': 0, 'out-informs': 0, 'informs-confirmed': 0,
    /** Messages of SNMPv1 and SNMPv2c, which are refused: those of snmpInBadVersions that somebody meant so. */
    'drop-old-version-messages': 0,
    /** SETs that came a second time, octet by octet. */
    'drop-replayed-messages': 0,
    /** Messages for which the queue had no room. */
    'drop-queue-full-messages': 0,
    'drop-inform-timeout-notifications': 0, 'drop-queue-full-notifications': 0, 'drop-too-big-notifications': 0,
    /** Not allowed to that target by its notify view, or not wanted by its filter. */
    'skip-view-notifications': 0, 'skip-filter-notifications': 0,
    /* SNMPv2-MIB (RFC 3418). */
    snmpInBadVersions: 0, snmpInASNParseErrs: 0, snmpSilentDrops: 0, snmpProxyDrops: 0,
    snmpInBadCommunityNames: 0, snmpInBadCommunityUses: 0,
    /* SNMP-MPD-MIB (RFC 3412). */
    snmpUnknownSecurityModels: 0, snmpInvalidMsgs: 0, snmpUnknownPDUHandlers: 0,
    /* SNMP-USER-BASED-SM-MIB (RFC 3414). */
    usmStatsUnsupportedSecLevels: 0, usmStatsNotInTimeWindows: 0, usmStatsUnknownUserNames: 0, usmStatsUnknownEngineIDs: 0,
    usmStatsWrongDigests: 0, usmStatsDecryptionErrors: 0,
    /* SNMP-TARGET-MIB (RFC 3413). */
    snmpUnavailableContexts: 0, snmpUnknownContexts: 0,
  }
}

export type SnmpCounters = ReturnType<typeof createSnmpCounters>
export type SnmpCounter = keyof SnmpCounters
export const SNMP_COUNTERS = Object.keys(createSnmpCounters()) as readonly SnmpCounter[]
