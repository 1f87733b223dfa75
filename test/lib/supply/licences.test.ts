import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { licenceOf } from '../../../lib/supply/licences.ts'
import { refusedLicences } from '../../helpers/licences.ts'

describe('the licence of a text', () => {
  const texts = {
    'Apache-2.0':
      '                                 Apache License\n                           Version 2.0, January 2004',
    MIT: 'Permission is hereby granted, free of charge, to any person obtaining a copy\nof this software',
    'BSD-3-Clause':
      '2. Redistributions in binary form must reproduce the above\n3. Neither the name of the copyright holder nor',
    'BSD-2-Clause': '2. Redistributions in binary form must reproduce the above copyright notice',
    'MPL-2.0': 'Mozilla Public License Version 2.0\n====',
    ISC: 'Permission to use, copy, modify, and distribute this software for any\npurpose with or without fee',
    'AGPL-3.0':
      '                    GNU AFFERO GENERAL PUBLIC LICENSE\n                       Version 3, 19 November 2007',
    GPL: '                    GNU GENERAL PUBLIC LICENSE\n                       Version 2, June 1991',
    unknown: 'All rights reserved.',
  }
  for (const [licence, text] of Object.entries(texts))
    it(`is ${licence} by its words`, () => assert.equal(licenceOf(text), licence))
})

describe('the allow list', () => {
  it('refuses copyleft, what has no licence, and a choice of nothing allowed', () => {
    const licences = [
      'MIT',
      'AGPL-3.0',
      'none',
      'unknown',
      'MIT AND GPL',
      '(MIT OR GPL)',
      'GPL OR LGPL-3.0',
      'MIT AND CC-BY-3.0',
    ]
    assert.deepEqual(
      refusedLicences(licences.map(licence => ['go', 'a@v1', licence])).map(([, , licence]) => licence),
      ['AGPL-3.0', 'none', 'unknown', 'MIT AND GPL', 'GPL OR LGPL-3.0'],
    )
  })
})
