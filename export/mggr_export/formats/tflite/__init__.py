"""TFLite files: conversion, graph and checks."""
