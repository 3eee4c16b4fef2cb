"""The formats of model files: conversion, checks, metadata."""
