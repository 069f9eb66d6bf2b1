/*
 * text.h
 *		Texts as bytes, and sorted lists of them.
 */
#ifndef ES_TEXT_H
#define ES_TEXT_H

extern bool es_same_text(const text *a, const text *b);
extern int  es_compare_texts(const text *a, const text *b);
extern int  es_sort_texts(text **texts, int n);
extern bool es_text_is_among(const text *name, text *const *names, int n);

#endif
